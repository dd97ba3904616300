"""Trades: the gateway and strategy processes over ZeroMQ. Imports no Dagster, MLflow or training code."""
