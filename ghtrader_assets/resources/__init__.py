"""Provides Dagster resources: the home, the source, locks, progress."""
