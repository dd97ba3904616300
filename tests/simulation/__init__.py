"""The trading core under a seeded simulation: a broker with books of its own, a bad wire, crashes, and an auditor.

`python -m tests.simulation --seeds 2000` runs it; `--seed N` replays one story, `--shrink` makes a failing one short.
"""
