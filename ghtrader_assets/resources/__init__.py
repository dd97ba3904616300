"""Dagster resources: stores, locks, progress."""
