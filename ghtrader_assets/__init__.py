"""Runs the pipeline on Dagster: every stage from ticks to a champion is a partitioned asset.

Asset bodies are thin; what they do lives in `ghtrader_market` and `ghtrader_models`. Nothing here trades.
"""
