"""Ticks from files that people already have."""
