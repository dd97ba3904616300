"""Shows an operator a running gateway, and holds the kill-switch commands."""
