"""Says how many examples an expensive property tries: all in `make verify`, a quarter in `make test`."""

from __future__ import annotations

import os

PROFILE = "verify" if os.environ.get("HYPOTHESIS_PROFILE") == "verify" else "untimed"


def examples(whole: int) -> int:
    """`whole` where HYPOTHESIS_PROFILE is ``verify``, else a quarter of it and at least five."""
    return whole if PROFILE == "verify" else max(5, whole // 4)
