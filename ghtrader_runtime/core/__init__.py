"""Decides orders, risk and trading state from events: the pure trading core, without clock, socket or file."""
