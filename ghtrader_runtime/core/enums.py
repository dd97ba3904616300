"""Lists the words that a gateway's options accept, where a command that starts quickly can read them."""

from __future__ import annotations

MODES = ("paper", "sim", "live")
SIMS = ("tqkq", "tqsim")
TIFS = ("FAK", "FOK", "GFD")
PEGS = ("cross", "join")
ON_KILL = ("hold", "flatten")
UNKNOWN_ORDERS = ("cancel", "adopt")
