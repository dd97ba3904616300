"""Compiles factor expressions to one numba kernel's op table."""
