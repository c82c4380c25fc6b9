"""What the business allows and what happened: pure functions over values, no I/O, no clock, no randomness."""
