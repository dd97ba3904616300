"""Steps networks one row at a time with a state that is carried from row to row."""
