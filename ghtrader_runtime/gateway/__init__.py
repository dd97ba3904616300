"""Runs the gateway process, which owns the broker connection, the account, the risk rules and the orders."""
