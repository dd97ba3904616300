"""Writes values as TqSdk's DIFF protocol has them: JSON, numbers that may be absent, times.

Messages of the market-data socket are in `connections.market_data`, of the trading socket in `connections.trading`,
plain HTTP in `connections.http_api`; the rule that a client asks for each packet is in `connections.socket`.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import orjson

CST = timezone(timedelta(hours=8))
NS_PER_SECOND = 1_000_000_000
MISSING = "-"
Quote = dict[str, float | str]
"""A symbol's quote: field to number, text, or `MISSING`, in the order they are written. Not changed once it is made."""


def dumps(value: Any) -> str:
    """JSON text; a NaN must have become `MISSING` before (orjson would write null, which deletes)."""
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS).decode()


def number(value: float) -> float | str:
    """A number as DIFF writes it: the text "-" where there is none."""
    return MISSING if value != value else value


def beijing_text(at_ns: int) -> str:
    """`YYYY-mm-dd HH:MM:SS.ffffff` in Asia/Shanghai, as quotes carry it."""
    seconds, rest = divmod(int(at_ns), NS_PER_SECOND)
    return f"{datetime.fromtimestamp(seconds, CST):%Y-%m-%d %H:%M:%S}.{rest // 1000:06d}"
