"""Lists what there is: contracts, coverage, first day with depth."""
