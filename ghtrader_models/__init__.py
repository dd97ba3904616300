"""Makes models from ticks: factors, labels, families, evaluation, bundles, the promotion gate."""
