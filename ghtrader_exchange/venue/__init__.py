"""Implements the matching venue: orders, accounts, market view, clock."""
