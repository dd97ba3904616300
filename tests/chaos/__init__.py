"""Tests the real processes under chaos: gateway and strategy on TqSdk against the simulated exchange.

They are killed, stopped and cut off at seeded moments, and judged by what the exchange itself recorded. `python -m
tests.chaos --help`.
"""
