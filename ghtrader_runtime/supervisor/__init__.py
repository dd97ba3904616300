"""Starts gateway and strategy as child processes and restarts them by policy."""
