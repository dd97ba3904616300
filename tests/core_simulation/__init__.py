"""Tests the trading core under a seeded simulation: a broker with its own books, a lossy wire, crashes, and an auditor.

`python -m tests.core_simulation --seeds 2000` runs it; `--seed N` replays one scenario, `--shrink` makes a failing one
short.
"""
