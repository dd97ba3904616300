"""Defines a fill of an order: what was traded, at which price, on which side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Side = Literal["BUY", "SELL"]


Offset = Literal["OPEN", "CLOSE", "CLOSETODAY"]


@dataclass(frozen=True)
class Fill:
    """One execution: `side` and `offset` as the exchange names them, `price` in CNY, `volume` in lots (positive)."""

    side: Side
    offset: Offset
    price: float
    volume: int
