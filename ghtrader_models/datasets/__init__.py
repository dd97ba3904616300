"""Builds, loads and windows feature and label days."""
