"""Defines the assets, by stage: market data, datasets, models, reports."""
