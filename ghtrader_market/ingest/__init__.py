"""Brings ticks into the store: download, validation, import, run manifests."""
