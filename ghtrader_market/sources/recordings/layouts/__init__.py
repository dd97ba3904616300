"""Reads each layout of recordings that people have: one file a layout, all listed in `registry`."""
