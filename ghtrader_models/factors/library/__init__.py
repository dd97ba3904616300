"""Defines the packaged factors and the sets they form."""
