"""The factor language: expressions, sources, parser."""
