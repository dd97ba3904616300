"""Decides what to trade, purely: events in, actions out; no clock, no socket, no file."""
