"""MLflow tracking and the promotion gate."""
