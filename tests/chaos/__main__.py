"""Plays scenarios of the real processes under fault injection and kill -9: `python -m tests.chaos`.

`--scenarios N [--first K] [--jobs J]` plays so many, `--seed S` one and tells all of it (it is not the same to the
microsecond; its folder is kept), `--faults` puts each deliberate fault into the processes and shows which scenario
finds it, `--minutes M` plays as many as fit, `--short` six that cover every kind of fault, `--kinds a,b` gives each
scenario these acts alone, `--json FILE` keeps the figures.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def _tell(verdict: dict[str, Any]) -> None:
    state = "FOUND" if verdict["findings"] else "held"
    what = f"{verdict.get('orders', 0)} orders, {len(verdict.get('lives', []))} processes"
    print(f"{state}  seed {verdict['seed']}: {what}, {verdict['seconds']:.1f} s", flush=True)
    for rule, text in verdict["findings"][:6]:
        print(f"       {rule}: {text[:1200]}", flush=True)


def _environment() -> None:
    """Nothing of the outside reaches a scenario: no credentials, no settings; one thread a library."""
    for name in list(os.environ):
        if name.startswith(("GHTRADER_", "TQ_", "TQSDK_", "XDG_")):
            del os.environ[name]
    os.environ |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1")
    os.environ.setdefault("NUMBA_CACHE_DIR", str(Path(__file__).resolve().parents[2] / ".cache" / "numba"))


def deliberate(home: Path, jobs: int, seeds: int, names: list[str]) -> int:
    """Each deliberate fault: which scenario finds it, and by which rule."""
    from tests.chaos.batch import play
    from tests.chaos.injected_faults import FAULTS, HINTS
    from tests.chaos.scenario import plan_of

    missed = 0
    for name in names or FAULTS:
        found: list[dict[str, Any]] = []
        played = itertools.count(1)

        def keep(verdict: dict[str, Any], found: list[Any] = found, played: Any = played) -> None:
            next(played)
            found += [verdict] if verdict["findings"] else []

        plans = (plan_of(seed, HINTS.get(name, ())) for seed in range(seeds))
        play(plans, home, jobs, name, tell=keep, enough=lambda found=found: bool(found))
        missed += not found
        first = f"seed {found[0]['seed']:3d}  {name}: " + ": ".join(found[0]["findings"][0])[:160] if found else ""
        print(first or f"NOT FOUND  {name}", flush=True)
    return missed


def main() -> int:
    """Run; 0 where nothing was found (with --faults: where every fault was)."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--scenarios", type=int, default=20, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="this one alone, told in full")
    parser.add_argument("--minutes", type=float, help="as many as so many minutes allow")
    parser.add_argument("--short", action="store_true", help="six that have every kind of fault between them")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time")
    parser.add_argument("--kinds", default="", help="acts that each scenario has, instead of its own")
    parser.add_argument("--fault", default="", help="put this deliberate fault into every scenario")
    parser.add_argument("--faults", action="store_true", help="try every deliberate fault")
    parser.add_argument("--home", type=Path, help="where folders of scenarios with findings stay")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    given = parser.parse_args()
    _environment()
    home = given.home or Path(tempfile.mkdtemp(prefix="chaos-"))
    from tests.chaos.batch import figures, play, story
    from tests.chaos.scenario import SHORT, plan_of

    if given.faults:
        return deliberate(home, given.jobs, 40, [given.fault] if given.fault else [])
    kinds = tuple(kind for kind in given.kinds.split(",") if kind)
    seeds = [given.seed] if given.seed is not None else range(given.first, given.first + given.scenarios)
    until = math.inf
    if given.minutes:
        seeds, until = itertools.count(given.first), time.monotonic() + 60.0 * given.minutes
    plans = (plan_of(seed, kinds) for seed in seeds)
    if given.short:
        plans = (plan_of(given.first + n, kinds) for n, kinds in enumerate(SHORT))
    keep = given.seed is not None
    verdicts = play(plans, home, given.jobs, given.fault, keep, _tell, lambda: time.monotonic() > until)
    if given.seed is not None:
        folder = next(iter((home / "scenarios").glob(f"{given.seed}*/")))
        print("\n".join(story(home, folder)))
    told = figures(verdicts)
    print(json.dumps(told, indent=1, ensure_ascii=False))
    print(f"folders of scenarios with findings: {home / 'scenarios'}")
    if given.json:
        given.json.write_text(json.dumps({"figures": told, "verdicts": verdicts}))
    return told["with findings"] > 0


if __name__ == "__main__":
    sys.exit(main())
