"""How a model is judged: walk-forward splits, metrics, the benchmark against baselines, plots."""
