"""TqSdk's DIFF protocol, the part both sockets share: the peek rule and how values are written.

Messages of the market-data socket are in `diff_md`, of the trading socket in `diff_td`, plain HTTP in `diff_http`.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import orjson
from aiohttp import WSCloseCode, web

CST = timezone(timedelta(hours=8))
NS_PER_SECOND = 1_000_000_000
MISSING = "-"


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


class DiffSocket:
    """One client's websocket under the peek rule: at most one `rtn_data` for each `peek_message`.

    Items are kept until the client peeks; a pack holds all that came together since the last one. A connection that
    is gone swallows what is sent to it: its reader notices.
    """

    def __init__(self, ws: web.WebSocketResponse, request: web.Request) -> None:
        self._ws = ws
        self._request = request
        self._items: list[str] = []
        self.peeked = False

    @property
    def closed(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._ws.closed or self._request.transport is None

    def push(self, item: str) -> None:
        """Queue one diff, as JSON text."""
        self._items.append(item)

    async def flush(self) -> None:
        """Answer the client's peek, if it waits and there is something."""
        if not (self.peeked and self._items) or self.closed:
            return
        pack = '{"aid":"rtn_data","data":[' + ",".join(self._items) + "]}"
        self._items, self.peeked = [], False
        await self.send(pack)

    async def send(self, text: str) -> None:
        """Send one text frame, past the peek rule."""
        try:
            await self._ws.send_str(text)
        except (ConnectionError, RuntimeError):
            self.abort()

    def abort(self) -> None:
        """Drop the connection without a closing handshake, as a broken line does."""
        if self._request.transport is not None:
            self._request.transport.abort()

    async def close(self) -> None:
        """Close with code 1000, after which the client reconnects but subscribes nothing again."""
        await self._ws.close(code=WSCloseCode.OK)
