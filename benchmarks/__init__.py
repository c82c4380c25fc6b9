"""What the README says of speed, measured by ``make bench`` in one run on one machine."""
