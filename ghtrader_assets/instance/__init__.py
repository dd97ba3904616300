"""Manages the Dagster instance of a home, its run registry and web servers."""
