"""Plays scenarios of the core: `python -m tests.core_simulation`; a failing one is told in short.

`--seeds N [--first K]` plays so many, `--seed N` one, event by event; `--faults` puts each mutant into the core and
shows which scenario finds it, `--unit-faults` those that are for the unit tests to find (`--only NAME` one of either
list); `--tell NAME` shows the shortest scenario that finds one; `--json FILE` keeps what was measured.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.core_simulation.mutants import FAULTS, KILL_FAULTS, ROLL_FAULTS, SMALL_FAULTS
from tests.core_simulation.scenario import script_of

Fault = tuple[str, str, str, str]
"""Name, module, text, and what stands in its place."""
UNIT_TESTS: dict[tuple[Fault, ...], tuple[str, ...]] = {
    ROLL_FAULTS: ("core/test_roll_execution.py", "core/test_edge_cases.py", "accounts/test_disk_outage.py"),
    SMALL_FAULTS: ("core/test_small_faults.py", "gateway/test_small_faults_of_the_edge.py"),
    KILL_FAULTS: ("accounts/test_kill_switch.py", "gateway/test_way_to_a_halt.py"),
}
"""Faults that scenarios do not play, and the unit tests that find them."""


def play(first: int, count: int) -> tuple[int, dict[str, object]]:
    """Scenarios in a row: exit code and what was measured."""
    from tests.core_simulation.runner import run_seeds, tell

    gc.freeze()
    events, seconds, failure = run_seeds(range(first, first + count))
    rate = events / max(seconds, 1e-9)
    print(f"{count} seeds from {first}: {events} events, {rate:,.0f} events/s of CPU")
    if failure is not None:
        print(tell(failure))
    return failure is not None, {"seeds": count, "events": events, "events_per_cpu_s": rate}


def one(seed: int) -> int:
    """A scenario, event by event."""
    from tests.core_simulation.runner import run_script, tell

    log: list[str] = []
    _, failure = run_script(seed, script_of(seed), log=log)
    print("\n".join(log))
    print(tell(failure) if failure else "nothing broke")
    return failure is not None


def chosen(faults: Sequence[Fault], only: str) -> list[Fault]:
    """The faults of a list, or the one of this name; ends the process where there is none."""
    found = [fault for fault in faults if only in ("", fault[0])]
    if not found:
        sys.exit(f"no fault {only!r}; there are: {', '.join(fault[0] for fault in faults)}")
    return found


def deliberate(seeds: int, only: str = "") -> tuple[int, dict[str, object]]:
    """Each fault of the list: who finds it."""
    import ghtrader_market.accounting.positions  # noqa: F401  loaded once, before the children
    from tests.core_simulation.mutant_runner import find, patch

    found: dict[str, object] = {}
    missed = 0
    faults = chosen(FAULTS, only)
    for name, module, old, new in faults:
        seed, what = find(module, patch(module, old, new), range(seeds))
        missed += seed < 0
        found[name] = {"seed": seed, "as": what}
        print(f"{'NOT FOUND' if seed < 0 else f'seed {seed:3d}'}  {name}: {what[:100]}", flush=True)
    print(f"{len(faults) - missed} of {len(faults)} faults found")
    return missed > 0, found


def by_unit_tests(only: str = "") -> tuple[int, dict[str, object]]:
    """Each fault that is not for the scenarios: whether the unit tests of it find it, which pass without."""
    from tests.core_simulation import mutation_sweep
    from tests.core_simulation.mutant_runner import patch, source

    mutation_sweep.warm_up()
    wanted = {fault[0] for fault in chosen(tuple(fault for faults in UNIT_TESTS for fault in faults), only)}
    found: dict[str, object] = {}
    for faults, judges in UNIT_TESTS.items():
        mine = [fault for fault in faults if fault[0] in wanted]
        if mine and (said := mutation_sweep.unit_tests_say("core.trading_core", source("core.trading_core"), judges)):
            print(f"they fail without a fault: {said}")
            return 1, {}
        for name, module, old, new in mine:
            found[name] = mutation_sweep.unit_tests_find(module, patch(module, old, new), judges)
            print(f"{'found' if found[name] else 'NOT FOUND':9s}  {name}", flush=True)
    return not all(found.values()), found


def shortest(name: str) -> tuple[int, dict[str, object]]:
    """The shortest scenario that finds a fault of the list."""
    from tests.core_simulation.mutant_runner import find, patch, shorten

    ((_, module, old, new),) = [fault for fault in FAULTS if fault[0] == name]
    text = patch(module, old, new)
    seed, what = find(module, text, range(200))
    if seed < 0:
        print("no scenario finds it")
        return 1, {}
    story = shorten(module, text, seed)
    print(story)
    return 0, {"seed": seed, "as": what, "story": story}


def main() -> int:
    """Run; 0 where nothing broke and every fault was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.core_simulation")
    parser.add_argument("--seeds", type=int, default=2000, help="how many scenarios")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="this scenario alone, with every event")
    parser.add_argument("--faults", action="store_true", help="put faults into the core instead")
    parser.add_argument("--unit-faults", action="store_true", help="those the unit tests have to find")
    parser.add_argument("--only", metavar="NAME", default="", help="of the faults this one alone")
    parser.add_argument("--tell", metavar="NAME", help="the shortest scenario that finds this fault")
    parser.add_argument("--json", type=Path, help="where to write what was measured")
    given = parser.parse_args()
    if given.seed is not None:
        return one(given.seed)
    if given.unit_faults:
        code, measured = by_unit_tests(given.only)
    elif given.tell:
        code, measured = shortest(given.tell)
    elif given.faults:
        code, measured = deliberate(min(given.seeds, 600), given.only)
    else:
        code, measured = play(given.first, given.seeds)
    if given.json:
        given.json.write_text(json.dumps(measured))
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
