"""What there is: contracts, coverage, first day with depth."""
