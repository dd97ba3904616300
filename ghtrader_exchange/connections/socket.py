"""Sends and receives DIFF packets on one WebSocket of a TqSdk client."""

from __future__ import annotations

from aiohttp import WSCloseCode, web


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
