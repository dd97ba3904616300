"""Encodes and answers TqSdk's DIFF protocol."""
