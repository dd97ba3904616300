"""Defines the code location that Dagster loads: nothing but the definitions."""

from ghtrader_assets.build_definitions import build_defs
from ghtrader_base.private_files import keep_private

keep_private()  # a code server that somebody starts with `dagster dev` is a process of ours from here on

defs = build_defs()
