"""Reads and writes frames on a pipe between a parent and its TqSdk worker: a JSON header, then Arrow IPC bytes.

Only the wire format belongs here; the headers are defined by `worker_client` and `worker`.
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:  # whoever sends and gets headers alone does not pay for it
    import pyarrow as pa

_SIZES = struct.Struct("<II")
_LIMIT = 1 << 31


Frame = tuple[dict[str, Any], "pa.Table | None"]
"""Header and body."""


class FrameError(Exception):
    """The other end closed, or sent what is no frame."""


def write_frame(pipe: BinaryIO, header: dict[str, Any], table: pa.Table | None = None) -> None:
    """Send one frame and flush it; OSError where nobody reads any more."""
    head = json.dumps(header).encode()
    body = b""
    if table is not None:
        import pyarrow as pa

        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        body = sink.getvalue()
    pipe.write(_SIZES.pack(len(head), len(body)) + head)
    if len(body):
        pipe.write(body)
    pipe.flush()


def read_frame(pipe: BinaryIO) -> Frame:
    """The next frame.

    Raises
    ------
    FrameError
        End of the pipe, in or between frames, or bytes that are no frame.
    """
    head_size, body_size = _SIZES.unpack(_exactly(pipe, _SIZES.size))
    if not head_size < _LIMIT or not body_size < _LIMIT:
        raise FrameError("a frame of an impossible size")
    try:
        header = json.loads(_exactly(pipe, head_size))
    except (ValueError, RecursionError) as exc:
        raise FrameError("a header that is no JSON") from exc
    if not isinstance(header, dict):
        raise FrameError("a header that is no object")
    if not body_size:
        return header, None
    import pyarrow as pa

    try:
        return header, pa.ipc.open_stream(_exactly(pipe, body_size)).read_all()
    except pa.ArrowException as exc:
        raise FrameError("a body that is no Arrow stream") from exc


def _exactly(pipe: BinaryIO, size: int) -> bytes:
    parts = []
    while size:
        part = pipe.read(size)
        if not part:
            raise FrameError("the pipe ended")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
