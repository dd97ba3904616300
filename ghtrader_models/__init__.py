"""From ticks to a model that can be trusted: factors, labels, families, evaluation, bundles, the gate."""
