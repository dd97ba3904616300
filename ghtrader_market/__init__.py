"""What trades, when it trades, and the ticks it printed: varieties, calendar, sources, stores, rolls, main_l5."""
