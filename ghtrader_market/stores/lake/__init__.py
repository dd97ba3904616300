"""The Parquet lake: days, manifests, index, ledgers."""
