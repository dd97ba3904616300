"""What a policy would have earned: accounts of fills against a price path."""
