"""Worlds with a known truth: scenario, order book, ticks, oracle."""
