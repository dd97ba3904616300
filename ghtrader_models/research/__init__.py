"""Measures what single factors are worth: information coefficients, turnover, coverage, stability, redundancy.

`scores.information_coefficients` is the pure part; `evaluate` reads the lake, `page` draws.
"""
