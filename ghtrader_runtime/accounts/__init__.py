"""Keeps what an account has on disk: ledger, kill switch, token, login; and the gate in front of a real one."""
