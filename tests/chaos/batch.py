"""Plays many scenarios, some at a time, each in a forked process of its own; counts results and tells one in full."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

from tests.chaos.processes import Forked, preload
from tests.chaos.scenario import Plan
from tests.support.waiting import PATIENCE_S

LONGEST_S = 280.0
"""A scenario that takes longer hangs: a finding of its own."""


def prepare(home: Path) -> tuple[Path, dict[int, Path]]:
    """The tapes' cache and a bundle for each number of lots; imports and compiles all there is, once."""
    os.environ["HOME"] = str(home / "tqsdk")  # TqSdk's folders are fixed when it is imported
    (home / "tqsdk").mkdir(parents=True, exist_ok=True)
    preload()
    from ghtrader_exchange.world.tick_history import History
    from ghtrader_market.reference.trading_calendar import bundled_calendar
    from ghtrader_models.bundles.bundle import load_bundle
    from ghtrader_runtime.strategy.signal_engine import SignalEngine
    from tests.chaos.scenario_runner import LIVE_DAY, SCENARIO, SYMBOL
    from tests.support.runtime_kit import write_tiny_bundle

    cache = home / "cache"
    History(SCENARIO, cache_dir=cache).day(SYMBOL, LIVE_DAY)
    bundles = {lots: write_tiny_bundle(home / f"models-{lots}", enter=0.25, leave=0.2, lots=lots) for lots in (1, 2, 3)}
    # its kernels are compiled, or loaded, now
    SignalEngine(load_bundle(bundles[1]), bundled_calendar(), SYMBOL, 10.0, 5)
    return cache, bundles


def _start(plan: Plan, folder: Path, cache: Path, model: Path, fault: str) -> Forked:
    from ghtrader_base.child_processes import die_with_parent
    from tests.chaos.scenario_runner import conduct

    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    verdict = folder.with_suffix(".json")
    verdict.unlink(missing_ok=True)
    folder.with_suffix(".log").unlink(missing_ok=True)

    def work() -> int:
        die_with_parent()
        started = time.monotonic()
        findings, found = conduct(plan, folder, cache, model, fault)
        document = {
            "seed": plan.seed, "fault": fault, "seconds": time.monotonic() - started, "exec": plan.exec_,
            "findings": [[one.rule, one.text] for one in findings],
            "orders": sum(row.what == "accepted" for row in found.record), "fills": len(found.fills),
            "lives": [one["kind"] for one in found.lives], "trips": len(found.kills), "points": found.points,
            "acts": [note["text"] for note in found.notes], "armed": [point.name for point in plan.points],
        }  # fmt: skip
        kept = {"plan": plan.told(), "evidence": vars(found)}
        (folder / "evidence.json").write_bytes(msgspec.json.encode(kept, enc_hook=str))
        verdict.write_text(json.dumps(document))
        return 0

    return Forked(work, folder.with_suffix(".log"))


def _verdict(plan: Plan, folder: Path, why: str) -> dict[str, Any]:
    verdict = folder.with_suffix(".json")
    if verdict.exists():
        return json.loads(verdict.read_text())
    log = folder.with_suffix(".log")
    text = f"{why}: {log.read_text()[-2000:] if log.exists() else ''}"
    return {"seed": plan.seed, "findings": [["played", text]], "seconds": 0.0}


def play(
    plans: Iterable[Plan], home: Path, jobs: int = 2, fault: str = "", keep: bool = False,
    tell: Callable[[dict[str, Any]], None] = lambda _: None, enough: Callable[[], bool] = lambda: False,
) -> list[dict[str, Any]]:  # fmt: skip
    """Play scenarios, `jobs` at a time; folders of those without findings are removed unless `keep`.

    Parameters
    ----------
    fault : str
        A deliberate fault of `faults.FAULTS`, or none.
    enough : callable
        Asked before each start; no more are started once it says so.
    """
    cache, bundles = prepare(home)
    waiting, running, done = iter(plans), [], []
    more = True
    while more or running:
        while more and len(running) < jobs:
            plan = None if enough() else next(waiting, None)
            if plan is None:
                more = False
                break
            folder = home / "scenarios" / f"{plan.seed}{'-' + fault.replace(' ', '-') if fault else ''}"
            process = _start(plan, folder, cache, bundles[plan.lots], fault)
            running.append((plan, folder, process, time.monotonic()))
        for one in list(running):
            plan, folder, process, since = one
            why = "it ended without a verdict"
            if process.poll() is None:
                if time.monotonic() - since < LONGEST_S:
                    continue
                why = f"it hung for {LONGEST_S:g} s"
                process.kill()
                process.wait(PATIENCE_S)
            running.remove(one)
            verdict = _verdict(plan, folder, why)
            if not verdict["findings"] and not keep:
                shutil.rmtree(folder, ignore_errors=True)
            done.append(verdict)
            tell(verdict)
        time.sleep(0.05)
    return done


def figures(verdicts: list[dict[str, Any]]) -> dict[str, Any]:
    """What was played, counted."""
    played = [one for one in verdicts if "lives" in one]
    acts = Counter(text for one in played for text in one["acts"] if text in _kinds())
    lives = Counter(kind for one in played for kind in one["lives"])
    return {
        "scenarios": len(verdicts), "with findings": sum(bool(one["findings"]) for one in verdicts),
        "orders": sum(one["orders"] for one in played), "fills": sum(one["fills"] for one in played),
        "gateways started": lives["gateway"], "strategies started": lives["strategy"],
        "trips": sum(one["trips"] for one in played), "started as the product does": sum(one["exec"] for one in played),
        "faults": dict(acts.most_common()), "armed points": dict(Counter(p for one in played for p in one["armed"])),
        "killed at points": dict(sum((Counter(one["points"]) for one in played), Counter())),
        "seconds each": round(sum(one["seconds"] for one in played) / max(1, len(played)), 1),
    }  # fmt: skip


def _kinds() -> set[str]:
    from tests.chaos.scenario import TIMED

    return set(TIMED)


def story(home: Path, folder: Path) -> list[str]:
    """Everything that happened in a kept scenario in one line of time: conductor, lives, exchange, journal."""
    told = json.loads((folder / "evidence.json").read_text())["evidence"]
    lines: list[tuple[int, str]] = []
    for note in told["notes"]:
        more = {name: value for name, value in note.items() if name not in ("at_ns", "text")}
        lines.append((note["at_ns"], f"CHAOS     {note['text']} {more or ''}"))
    for one in told["lives"]:
        lines.append((one["at_ns"], f"PROCESS   {one['kind']} {one['life']} starts, pid {one['pid']}"))
    for row in told["received"]:
        asked = [str(row[name]) for name in ("direction", "offset", "volume") if name in row]
        lines.append((row["at_ns"], f"RECEIVED  {row['aid']} {row['order_id']} {' '.join(asked)}"))
    for row in told["record"]:
        lines.append((row["at_ns"], f"EXCHANGE  {row['what']} {row['order_id']} left {row['left']}"))
    for row in told["events"]:
        more = {name: value for name, value in row.items() if name not in ("at", "kind")}
        lines.append((row["at"] - told["wall_offset_ns"], f"GATEWAY   {row['kind']} {more}"))
    first = min((at for at, _ in lines), default=0)
    return [f"{(at - first) / 1e9:9.3f}  {text}" for at, text in sorted(lines, key=lambda line: line[0])]
