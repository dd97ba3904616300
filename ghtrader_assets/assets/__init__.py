"""The assets, by stage: market data, datasets, models, reports."""
