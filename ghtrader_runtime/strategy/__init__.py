"""The strategy process: factors, model, policy, targets."""
