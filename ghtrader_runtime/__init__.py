"""The trading processes: gateway and strategy over ZeroMQ. Knows nothing of Dagster, MLflow or training code."""
