"""Predicts from a bundle without any training code."""
