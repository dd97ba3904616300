"""Runs the trading stack over recorded days."""
