"""Asks the service for a contract's newest tick over a subscription of its own, beside the one that went silent.

A subscription that brings nothing is dead or has nothing to bring (a market locked at its limit, a halt): the answer
tells which. Where it is newer than what the silent subscription brought, that one's series has a hole from now on
(TqSdk keeps the ticks of a contract once), and the client is to be opened anew, which is the caller's.
"""

from __future__ import annotations

import time
from typing import Any

_ROWS = 2


def newest_id(api: Any, symbol: str, within_s: float = 3.0) -> int | None:
    """Id of the newest tick that the service has of a contract; None where it does not say in time.

    Parameters
    ----------
    api : tqsdk.TqApi
        Not inside its loop.
    """

    async def subscribe() -> Any:  # in the loop, where TqSdk does not wait for the answer by itself
        return api.get_tick_serial(symbol, _ROWS)

    deadline, frame = time.time() + within_s, None
    task = api.create_task(subscribe())
    try:
        while time.time() < deadline:
            api.wait_update(deadline=deadline)
            if not task.done():
                continue
            frame = task.result()
            if api._serials[id(frame)]["init"]:
                newest = frame["id"].iloc[-1]
                return int(newest) if newest == newest else None
        return None
    except Exception:  # no answer, whatever TqSdk makes of it
        return None
    finally:
        if frame is not None:
            drop_series(api, frame, symbol, _ROWS)


def drop_series(api: Any, frame: Any, symbol: str, rows: int) -> None:
    """End a series of ticks again (there is no public way): it would be moved with every tick."""
    frame.__dict__["_task"].cancel()
    serial = api._serials.pop(id(frame))
    api._requests["ticks"].pop((symbol, rows, None), None)
    chart = {"chart_id": serial["chart"]["chart_id"], "ins_list": "", "duration": 0, "view_width": rows}
    api._send_pack({"aid": "set_chart", **chart})
