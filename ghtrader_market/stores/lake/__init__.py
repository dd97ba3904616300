"""Implements the Parquet lake: days, manifests, index, ledgers."""
