"""Answers read-only SQL over the lake."""
