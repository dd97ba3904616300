"""Runs the exchange server and its control API."""
