"""What an operator sees of a running gateway, and the kill-switch commands."""
