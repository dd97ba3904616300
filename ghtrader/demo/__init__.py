"""Runs `ghtrader demo`: the whole loop, once on a simulated exchange and once on one real recorded day."""
