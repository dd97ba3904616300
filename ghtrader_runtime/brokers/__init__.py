"""Connects to brokers and market data: TqSdk, a paper account, a recorded day."""
