"""Writes values as TqSdk's DIFF protocol has them: JSON, numbers that may be absent, times.

Messages of the market-data socket are in `sessions.market_data`, of the trading socket in `sessions.trading`, plain
HTTP in `sessions.http_api`; the rule that a client asks for each packet is in `sessions.socket`.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import orjson

CST = timezone(timedelta(hours=8))
NS_PER_SECOND = 1_000_000_000
MISSING = "-"


def dumps(value: Any) -> str:
    """JSON text; a NaN must have become `MISSING` before (orjson would write null, which deletes)."""
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS).decode()


def number(value: float) -> float | str:
    """A number as DIFF writes it: the text "-" where there is none."""
    return MISSING if value != value else value


def with_missing(item: dict[str, Any]) -> dict[str, Any]:
    """A diff of nested objects with `MISSING` for every NaN in it."""
    return {name: with_missing(v) if isinstance(v, dict) else MISSING if v != v else v for name, v in item.items()}


def beijing_text(at_ns: int) -> str:
    """`YYYY-mm-dd HH:MM:SS.ffffff` in Asia/Shanghai, as quotes carry it."""
    seconds, rest = divmod(int(at_ns), NS_PER_SECOND)
    return f"{datetime.fromtimestamp(seconds, CST):%Y-%m-%d %H:%M:%S}.{rest // 1000:06d}"
