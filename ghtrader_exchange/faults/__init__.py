"""Faults a scenario can inject."""
