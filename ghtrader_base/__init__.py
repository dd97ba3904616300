"""The ground floor: settings, errors, safe files, locks, the register of running processes.

Nothing here knows what a tick is; every other room may import it, it imports none of them.
"""
