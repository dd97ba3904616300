"""Reads ticks from files that people already have."""
