"""Says where ghTrader writes whatever it is asked: where to look for a full disk when an error names no file."""

from __future__ import annotations

import os
from pathlib import Path

from ghtrader_base import settings


def usual_places() -> tuple[Path, ...]:
    """The home in force, the temporary folder, and one's own folder."""
    home = settings.latest_home or Path(os.environ.get("GHTRADER_HOME") or "var")
    return home, Path(os.environ.get("TMPDIR") or "/tmp"), Path(os.path.expanduser("~"))
