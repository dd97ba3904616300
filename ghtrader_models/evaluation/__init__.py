"""How a model is judged: walk-forward splits, scores beside baselines, figures."""
