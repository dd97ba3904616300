"""Asks a running TqApi for ticks that its live series no longer holds; an account may have no right to them (`tq_dl`).

For who follows a live market and joins it late: our recorder and the gateway. Neither ends for want of history: it goes
on with what comes, and says why. Downloads of whole days are `worker`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from ghtrader_market.reference.trading_calendar import SHANGHAI
from ghtrader_market.sources.tqsdk.worker import as_error


@dataclass(frozen=True)
class PastTicks:
    """What came of it.

    Attributes
    ----------
    frame : pandas.DataFrame or None
        Rows as TqSdk has them, oldest first; None where there is no history to be had.
    why_not : str
        Why not, for people; empty where there is.
    """

    frame: Any
    why_not: str = ""


def past_ticks(api: Any, symbol: str, start_ns: int, end_ns: int, after: int, before: int) -> PastTicks:
    """Ticks of one contract between two rows of its series.

    Parameters
    ----------
    api : tqsdk.TqApi
    start_ns, end_ns : int
        UTC epoch ns of the span to ask for.
    after, before : int
        Ids that the rows lie between, both excluded.
    """
    begin = datetime.fromtimestamp(start_ns // 10**9, SHANGHAI)
    end = datetime.fromtimestamp(end_ns // 10**9, SHANGHAI) + timedelta(seconds=1)
    try:
        frame = api.get_tick_data_series(symbol, begin, end)
    except Exception as exc:  # rights, silence, a broken line: what comes live matters more
        return PastTicks(None, as_error(exc).message)
    ids = frame["id"].to_numpy(np.int64)
    return PastTicks(frame[(ids > after) & (ids < before)])
