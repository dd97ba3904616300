"""Defines the code location that Dagster loads: nothing but the definitions."""

from ghtrader_assets.build_definitions import build_defs

defs = build_defs()
