"""Finds damage in the stores and names file, day and kind."""
