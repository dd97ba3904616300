"""The matching venue: orders, accounts, market view, clock."""
