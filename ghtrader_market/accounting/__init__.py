"""Money: positions, fees and PnL, worked out in one place."""
