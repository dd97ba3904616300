"""Whole matrices and what else is long: make verify."""
