"""Defines the factor language: expressions, sources, parser."""
