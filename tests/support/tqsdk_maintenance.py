"""Skips tests in the half hour in which TqSdk 3.10.4 gives up on a broken line.

Between 19:00 and 19:30 in Beijing, the maintenance, it raises on the first break of a line instead of waiting for it,
whatever service it speaks to. Its clock is the machine's.
"""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

_FROM, _UNTIL = (18, 55), (19, 31)
"""Hour and minute in Beijing; a test that begins a little before breaks its line in it."""


def skip_at_maintenance() -> None:
    """Skip a test that breaks a line while TqSdk would not mend it; to be asked as it runs, long after collection."""
    now = datetime.now(ZoneInfo("Asia/Shanghai"))
    if _FROM <= (now.hour, now.minute) <= _UNTIL:
        pytest.skip("the service's maintenance (19:00 to 19:30 in Beijing): TqSdk keeps no broken line then")
