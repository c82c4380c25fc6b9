"""An order for credits: paid at most once, for the amount asked, and refunded at most what was paid."""
