"""Every deliberate fault of the chaos scenarios replaces a function that exists; else it would change nothing."""

from __future__ import annotations

import subprocess
import sys

CODE = """
from tests.chaos.injected_faults import FAULTS, HINTS, make_greedy
make_greedy()
for inject in FAULTS.values():
    inject("gateway", 2)
assert set(HINTS) <= set(FAULTS)
"""


def test_each_fault_can_be_injected() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
