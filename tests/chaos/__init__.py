"""Chaos on the real processes: gateway and strategy on TqSdk against the simulated exchange, killed, stopped and cut
off at seeded moments, and judged by what the exchange itself recorded. `python -m tests.chaos --help`."""
