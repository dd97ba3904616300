"""What an account keeps on disk: ledger, kill switch, locks, token."""
