"""Provides the `ghtrader` command and its demo."""
