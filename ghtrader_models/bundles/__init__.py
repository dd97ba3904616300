"""Stores model bundles and champions: files, hashes, pointers."""
