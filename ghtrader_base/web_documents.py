"""Fetches a document of bounded size from a web address, in bounded time.

Whatever stops it is an `OSError`: a server that says half of an answer, or something that is no HTTP at all, raises
`http.client.HTTPException` in Python's own client, which is none. What a document must be is its reader's to say.
"""

from __future__ import annotations

import http.client
import time
import urllib.request

_WHOLE_S = 30.0
_PIECE = 1 << 16


def fetch_document(url: str, timeout_s: float, most_bytes: int, whole_s: float = _WHOLE_S) -> bytes:
    """The whole body of an http(s) answer.

    Parameters
    ----------
    url : str
    timeout_s : float
        Seconds to connect, and to wait for more.
    most_bytes : int
        A longer answer is refused, having been read no further.
    whole_s : float
        Seconds for all of it: a server that sends a byte now and then keeps nobody waiting for ever.

    Raises
    ------
    OSError
        Nobody answers, the answer is an error, is cut off or no HTTP, is too long, or takes too long.
    ValueError
        `url` is no address.
    """
    until = time.monotonic() + whole_s
    found = bytearray()
    try:
        with urllib.request.urlopen(url, timeout=timeout_s) as response:
            while piece := response.read1(_PIECE):
                found += piece
                if len(found) > most_bytes:
                    raise OSError(f"the answer is longer than {most_bytes} bytes")
                if time.monotonic() > until:
                    raise TimeoutError(f"the answer takes longer than {whole_s:.0f} s")
            if response.length:  # `read1` ends without a word where the line does
                raise OSError(f"the answer breaks off after {len(found)} bytes")
    except http.client.HTTPException as error:
        raise OSError(f"the answer is damaged: {type(error).__name__}") from error
    return bytes(found)
