"""Records live ticks to the lake."""
