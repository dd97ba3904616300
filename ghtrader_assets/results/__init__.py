"""Stores reports, run metrics and the list of models."""
