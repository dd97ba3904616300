"""Runs the strategy process: factors, model, policy, targets."""
