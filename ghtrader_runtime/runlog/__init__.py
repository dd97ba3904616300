"""Records a trading run: journal, latencies, decision log."""
