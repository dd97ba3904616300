"""Splices main_l5 from the scheduled contracts."""
