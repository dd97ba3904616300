"""Gets ticks from TqSdk, whose client runs in worker processes."""
