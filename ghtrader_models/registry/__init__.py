"""Tracks models in MLflow and decides on their promotion."""
