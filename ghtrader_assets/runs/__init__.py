"""Executes pipeline commands as Dagster runs and inspects them."""
