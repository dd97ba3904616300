"""Asks the service when contracts whose ticks went silent last ticked, on the connection that brings those ticks.

The newest bar of a second is of the newest tick: where it is later than what the series brought, the subscription is
dead; where it is not, the market has nothing to say (locked at its limit, halted). An answer itself shows that the line
is alive. Unlike a second series of ticks (`newest_tick`), bars leave those that are followed as they are; and unlike a
quote, a bar can be asked for again and given back (TqSdk drops a list of quotes that it sent before).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

_SECOND_NS = 1_000_000_000


class NewestBars:
    """One question; `times` has the answer once it came. `end` it before the next one.

    Parameters
    ----------
    api : tqsdk.TqApi
    symbols : iterable of str
    """

    def __init__(self, api: Any, symbols: Iterable[str]) -> None:
        self._api = api
        self._charts = {symbol: f"newest_bar_{uuid.uuid4().hex}" for symbol in symbols}
        for symbol, chart in self._charts.items():
            self._set_chart(chart, symbol)

    def times(self) -> dict[str, int] | None:
        """Begin of each contract's newest bar, UTC epoch ns (those without one are left out); None before the answer
        is whole."""
        data, found = self._api._data, {}
        for symbol, chart in self._charts.items():
            if not data.get("charts", {}).get(chart, {}).get("ready", False):
                return None
            bars = data.get("klines", {}).get(symbol, {}).get(str(_SECOND_NS), {})
            bar = bars.get("data", {}).get(str(bars.get("last_id", -1)), {})
            if (time_ns := bar.get("datetime", 0)) > 0:
                found[symbol] = int(time_ns)
        return found

    def end(self) -> None:
        """Have no more bars sent."""
        for chart in self._charts.values():
            self._set_chart(chart, "")

    def _set_chart(self, chart: str, symbol: str) -> None:
        wanted = {"chart_id": chart, "ins_list": symbol, "duration": _SECOND_NS, "view_width": 1}
        self._api._send_pack({"aid": "set_chart", **wanted})
