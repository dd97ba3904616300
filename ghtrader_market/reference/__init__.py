"""Holds reference data: calendar, varieties, symbols, tick schema, roll schedule."""
