"""Where ticks are kept: one protocol (`base`), the embedded lake (`lake`), the server (`questdb`)."""
