"""Lists words that a gateway's options accept, where a command that starts quickly can read them."""

from __future__ import annotations

from ghtrader_base.trading_limits import limit

MODES = ("paper", "sim", "live")
SIMS = ("tqkq", "tqsim")
TIFS = limit("tif").choices
