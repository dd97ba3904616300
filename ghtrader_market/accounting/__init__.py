"""Computes money in one place: positions, fees and PnL."""
