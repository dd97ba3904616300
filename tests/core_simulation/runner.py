"""Plays the scenario of a seed, and shortens a failing one."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from ghtrader_runtime.core.trading_core import Core
from tests.core_simulation.harness import Crash, World
from tests.core_simulation.scenario import Step, script_of
from tests.core_simulation.scenario_config import setup_of
from tests.core_simulation.verdict import Broken


@dataclass(frozen=True)
class Failure:
    """What a scenario broke: the invariant's name (or the exception's), in words, and after which step."""

    seed: int
    name: str
    text: str
    at: int


def run_script(
    seed: int, steps: Sequence[Step], core_class: type[Core] = Core, log: list[str] | None = None
) -> tuple[int, Failure | None]:
    """Play steps in the frame of a seed; events played, and what broke."""
    world: World | None = None
    at = 0
    try:
        world = World(setup_of(seed), core_class, log)
        for at, step in enumerate(steps):
            if log is not None:
                log.append(f"[{at}] {step.kind} {step.dice}")
            world.play(step)
        at = len(steps)
        world.calm_down(seed)
    except Broken as exc:
        return world.events if world else 0, Failure(seed, exc.name, str(exc), at)
    except (Crash, RecursionError, Exception) as exc:
        return world.events if world else 0, Failure(seed, type(exc).__name__, repr(exc), at)
    return world.events, None


def run_seeds(seeds: Sequence[int], core_class: type[Core] = Core) -> tuple[int, float, Failure | None]:
    """Play seeds until one fails; events, CPU seconds, the failure."""
    events, started = 0, time.process_time()
    for seed in seeds:
        count, failure = run_script(seed, script_of(seed), core_class)
        events += count
        if failure is not None:
            return events, time.process_time() - started, failure
    return events, time.process_time() - started, None


def shrink(failure: Failure, core_class: type[Core] = Core) -> list[Step]:
    """A short list of steps that breaks the same thing: parts are left out as long as it still does."""
    steps = script_of(failure.seed)[: failure.at + 1]

    def fails(candidate: list[Step]) -> bool:
        found = run_script(failure.seed, candidate, core_class)[1]
        return found is not None and found.name == failure.name

    size = max(len(steps) // 2, 1)
    while True:
        position = 0
        while position < len(steps):
            candidate = steps[:position] + steps[position + size :]
            if fails(candidate):
                steps = candidate
            else:
                position += size
        if size == 1:
            return steps
        size = max(size // 2, 1)


def tell(failure: Failure, core_class: type[Core] = Core) -> str:
    """The short scenario of a failure, readable."""
    steps = shrink(failure, core_class)
    log: list[str] = []
    found = run_script(failure.seed, steps, core_class, log)[1]
    head = f"seed {failure.seed}: {failure.text}\nshrunk to {len(steps)} steps: {[tuple(step) for step in steps]}"
    return "\n".join([head, *log, f"=> {found.text if found else 'not found again'}"])
