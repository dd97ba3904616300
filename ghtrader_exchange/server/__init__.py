"""The exchange server and its control API."""
