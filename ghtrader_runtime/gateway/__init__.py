"""The gateway process: broker, account, risk and orders."""
