"""What a trading run writes for later: journal, latencies, decision log."""
