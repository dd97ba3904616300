"""Stored reports, run metrics and the list of models."""
