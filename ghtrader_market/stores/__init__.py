"""Stores ticks: one protocol (`base`), the embedded lake (`lake`), the server (`questdb`), both at once (`mirror`)."""
