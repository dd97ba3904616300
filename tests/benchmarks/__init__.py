"""Measures ratios taken in one run against a named peer or bound. Run them with `make bench`."""
