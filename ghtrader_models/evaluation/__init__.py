"""Judges models: walk-forward splits, metrics, the benchmark against baselines, plots."""
