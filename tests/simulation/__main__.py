"""`python -m tests.simulation [--seeds N] [--first K] [--seed N]`: play stories; a failing one is told in short."""

from __future__ import annotations

import argparse
import gc
import sys

from tests.simulation.script import script_of
from tests.simulation.story import run_script, run_seeds, tell


def main() -> int:
    """Run; 0 where nothing broke."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seeds", type=int, default=2000, help="how many stories")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="this story alone, with every event")
    given = parser.parse_args()
    if given.seed is not None:
        log: list[str] = []
        _, failure = run_script(given.seed, script_of(given.seed), log=log)
        print("\n".join(log[-400:]))
        print(tell(failure) if failure else "nothing broke")
        return failure is not None
    gc.freeze()
    events, seconds, failure = run_seeds(range(given.first, given.first + given.seeds))
    print(f"{given.seeds} seeds from {given.first}: {events} events, {events / max(seconds, 1e-9):,.0f} events/s of CPU")
    if failure is not None:
        print(tell(failure))
    return failure is not None


if __name__ == "__main__":
    sys.exit(main())
