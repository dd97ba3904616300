"""Runs every soak there is, or those named: `python -m tests.soak [NAME ...]`.

Settings come from the environment.
"""

from __future__ import annotations

import importlib
import sys
import time
from pathlib import Path


def main(wanted: list[str]) -> int:
    """Run; 0 where nothing broke, 2 where a name is no soak."""
    names = sorted(path.stem.removeprefix("soak_") for path in Path(__file__).parent.glob("soak_*.py"))
    if unknown := set(wanted) - set(names):
        print(f"no soak {', '.join(sorted(unknown))}; there are: {', '.join(names)}", file=sys.stderr)
        return 2
    failed = []
    for name in wanted or names:
        started = time.monotonic()
        print(f"== {name}", flush=True)
        if not importlib.import_module(f"tests.soak.soak_{name}").run():
            failed.append(name)
        print(
            f"== {name}: {'FAILED' if name in failed else 'held'} after {time.monotonic() - started:.0f} s", flush=True
        )
    return len(failed) > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
