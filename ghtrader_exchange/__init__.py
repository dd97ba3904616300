"""Simulates an exchange: worlds with a known truth, their tapes, and TqSdk's protocol in front of them.

Nothing outside `ghtrader` and the tests imports this package: the worlds' hidden truth is out of every model's reach.
"""
