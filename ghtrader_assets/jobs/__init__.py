"""Defines the Dagster jobs."""
