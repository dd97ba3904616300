"""Serves clients over DIFF: market data, trading, HTTP."""
