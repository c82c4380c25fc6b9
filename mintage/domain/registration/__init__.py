"""The person: registered once, verified once, erased once."""
