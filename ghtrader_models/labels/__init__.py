"""Event-time labels."""
