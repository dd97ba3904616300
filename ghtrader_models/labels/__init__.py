"""Computes event-time labels."""
