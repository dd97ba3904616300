"""Model bundles: files, hashes, champions."""
