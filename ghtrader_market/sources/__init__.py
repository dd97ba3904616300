"""Reads ticks from their sources: one protocol (`base`), TqSdk (`tqsdk`), recorded files (`recordings`)."""
