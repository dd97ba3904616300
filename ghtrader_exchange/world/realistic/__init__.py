"""A world fitted to a recorded day: what it is made of, how it is fitted, played and judged."""
