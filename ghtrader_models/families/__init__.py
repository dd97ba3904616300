"""Trains and saves model families. Training libraries are imported inside `fit`, never by the runtime."""
