"""Runs hftbacktest, which our simulation of orders is compared with, in an environment of its own."""
