"""Plays the trading core's simulation, as long as one asks: SEEDS scenarios (20,000) from FIRST (2,000) on all cores.

SWEEP=1 tries every small change of the core's source besides (tests/core_simulation/mutation_sweep.py).
"""

from __future__ import annotations

import os
import subprocess
import sys


def run() -> bool:
    """Play; what fails is told as a short scenario."""
    seeds, first = int(os.environ.get("SEEDS", "20000")), int(os.environ.get("FIRST", "2000"))
    workers = os.cpu_count() or 1
    share = -(-seeds // workers)
    command = [sys.executable, "-m", "tests.core_simulation"]
    parts = [
        subprocess.Popen([*command, "--first", str(first + i * share), "--seeds", str(min(share, seeds - i * share))])
        for i in range(workers)
        if seeds > i * share
    ]
    held = all([part.wait() == 0 for part in parts])
    held = subprocess.run([*command, "--faults"], check=False).returncode == 0 and held
    if os.environ.get("SWEEP") == "1":
        sweep = [sys.executable, "-m", "tests.core_simulation.mutation_sweep"]
        held = subprocess.run(sweep, check=False).returncode == 0 and held
    return held
