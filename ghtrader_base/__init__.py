"""Provides what every package builds on: settings, errors, safe files, locks, the register of running processes.

Nothing here knows what a tick is; every other package may import it, it imports none of them.
"""
