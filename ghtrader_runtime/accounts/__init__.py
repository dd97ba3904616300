"""Keeps an account's durable state on disk: order ledger, kill switch, locks, bus token."""
