"""Plays chaos on the real processes, as long as one asks.

CHAOS scenarios (20) from FIRST (0), or as many as MINUTES allow, JOBS (2) at a time.
"""

from __future__ import annotations

import os
import subprocess
import sys


def run() -> bool:
    """Play; what is found is told, and its folder kept."""
    command = [sys.executable, "-m", "tests.chaos", "--first", os.environ.get("FIRST", "0")]
    command += ["--jobs", os.environ.get("JOBS", "2"), "--scenarios", os.environ.get("CHAOS", "20")]
    if "MINUTES" in os.environ:
        command += ["--minutes", os.environ["MINUTES"]]
    return subprocess.run(command, check=False).returncode == 0
