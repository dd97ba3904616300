"""Simulates orders on recorded books: latency, depth, queue position, fees; arrays in, arrays out."""
