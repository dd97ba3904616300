"""Makes worlds with a known truth: scenario, order book, ticks, oracle."""
