"""Holds the faults a scenario can inject."""
