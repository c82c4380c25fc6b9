"""An order for credits: paid at most once, for the amount asked."""
