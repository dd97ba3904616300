"""Encodings of TqSdk's DIFF protocol."""
