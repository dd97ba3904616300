"""Where ticks come from and orders go to: TqSdk, a paper account, a recorded day."""
