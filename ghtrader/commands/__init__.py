"""Defines the commands, one module a subject; each exposes `register(app)`.

Thin: parse, call a package below, print.
"""
