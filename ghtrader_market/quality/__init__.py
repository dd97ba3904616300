"""Judges whether a day may feed features."""
