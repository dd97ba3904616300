"""Holds market data: varieties, calendar, sources and stores of ticks, roll schedules, main_l5."""
