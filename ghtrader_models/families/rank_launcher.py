"""Runs torchrun, tied to the process that started it: `python -m ghtrader_models.families.rank_launcher PID ARGS...`.

What belongs here: the tie. A parent that is killed leaves no training behind.
"""

from __future__ import annotations

import runpy
import sys

from ghtrader_base.child_processes import die_with_parent
from ghtrader_base.private_files import keep_private

if __name__ == "__main__":
    keep_private()
    die_with_parent(int(sys.argv[1]))
    sys.argv = ["torchrun", *sys.argv[2:]]
    runpy.run_module("torch.distributed.run", run_name="__main__")
