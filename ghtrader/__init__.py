"""Provides the `ghtrader` command, its demo and, later, the web console."""
