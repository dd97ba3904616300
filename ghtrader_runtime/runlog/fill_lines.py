"""Turns fills into the journal's words and back. The names are those of `fills.jsonl` and of a run's `fill_list`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ghtrader_market.accounting.fill import Fill, Offset, Side


def fill_fields(fill: Fill) -> dict[str, Any]:
    """A fill as the journal has it: `side` +1 or -1, `commission` in CNY."""
    return {
        "trade": fill.trade_id, "order": fill.order_id, "symbol": fill.symbol, "side": fill.side.sign,
        "offset": fill.offset, "volume": fill.volume, "price": fill.price, "market_ns": fill.market_ns,
        "commission": fill.fee,
    }  # fmt: skip


def read_fill(fields: Mapping[str, Any]) -> Fill:
    """The fill of a line of the journal; other fields of the line are left out, a commission of null is NaN.

    Raises
    ------
    KeyError
        The line is no fill's.
    """
    paid = math.nan if fields["commission"] is None else fields["commission"]
    offset = fields["offset"]
    return Fill(
        symbol=fields["symbol"], side=Side.of(fields["side"]), offset=Offset(offset) if offset is not None else None,
        volume=fields["volume"], price=fields["price"], fee=paid, market_ns=fields["market_ns"],
        trade_id=fields["trade"], order_id=fields["order"],
    )  # fmt: skip
