"""The pure trading core: events in, actions out; no clock, no socket, no file."""
