"""Measures memory and time of training over 5, 20, 80 and 250 full days of 269 factors: `make bench-year`.

Each figure is of a process of its own: the most memory it held (VmHWM, mapped pages included) and its seconds.
Logistic and LightGBM learn from every row, XGBoost and the TCN from each tenth. `train` writes a bundle; `benchmark`
is the last of the walk-forward fits, the largest, with its baselines, policy and simulation. What does not fit into
`--minutes` is named. Days are written straight into a lake under `var/bench`, and removed.

    python -m tests.benchmarks.year [--minutes 60] [--days 5 20 80 250] [--families logistic lightgbm xgboost tcn]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ghtrader_base.files import atomic_write_json

OUT = Path("var/bench/year.json")
SIZES = (5, 20, 80, 250)
STRIDES = {"lightgbm": 1, "logistic": 1, "xgboost": 10, "tcn": 10}
TREES, ROUNDS = ("lightgbm", "xgboost"), 8
"""Each further round costs as much as the one before and holds no more memory: eight say what eighty would."""
COMMANDS = ("train", "benchmark")
LIMIT_GB, FREE_GB, MOST_GB = 8.0, 40, 20
_GB = 1e9


def child(root: Path, command: str, family: str, days: int) -> dict[str, Any]:
    """One figure, in this process."""
    from dataclasses import replace

    from ghtrader_market.stores.lake.lake import Lake
    from ghtrader_models.datasets.load import load_dataset
    from ghtrader_models.evaluation.benchmark import run_benchmark
    from ghtrader_models.evaluation.splits import make_splits
    from ghtrader_models.families.base import get_family, make_config
    from ghtrader_models.training import train_on
    from tests.support.full_days import HORIZON, SYMBOL, trading_days

    started = time.perf_counter()
    dataset = load_dataset(Lake(root / "data"), SYMBOL, trading_days(days), HORIZON, cache=root / "cache")
    loaded = time.perf_counter()
    if command != "load":
        changes = {"stride": STRIDES[family]} | ({} if family == "logistic" else {"nthread": 2})
        changes |= {"rounds": ROUNDS} if family in TREES else {}
        config = make_config(get_family(family), changes)
        if command == "train":
            train_on(dataset, root / "models", family, config=config)
        else:
            plan = make_splits(dataset)
            run_benchmark(dataset, family, plan=replace(plan, splits=plan.splits[-1:]), config=config)
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return {
        "rows": len(dataset),
        "peak_gb": round(int(peak.split()[1]) * 1024 / _GB, 3),
        "load_s": round(loaded - started, 1),
        "seconds": round(time.perf_counter() - started, 1),
    }


def _run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.benchmarks.year", *map(str, arguments)]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)


def _write(root: Path, first: int, stop: int) -> None:
    """Days by their places, in two processes once the templates are there."""
    from tests.support.full_days import TEMPLATES

    if first < TEMPLATES:
        _run("--write", root, *range(first, min(stop, TEMPLATES))).check_returncode()
        first = TEMPLATES
    halves = [range(first + part, stop, 2) for part in (0, 1)]
    command = [sys.executable, "-m", "tests.benchmarks.year", "--write", str(root)]
    running = [subprocess.Popen([*command, *map(str, half)]) for half in halves if half]
    try:
        if any([process.wait() for process in running]):
            raise SystemExit("the days could not be written")
    finally:
        for process in running:
            process.kill()


def _size_gb(root: Path) -> float:
    return sum(path.stat().st_size for path in root.rglob("*") if path.is_file()) / _GB


def _grow(root: Path, there: int, days: int, measured: Measured) -> int:
    """Write days until there are as many, where room and time allow; how many there are."""
    if there >= days:
        return there
    if there and (size := _size_gb(root) * days / there) > MOST_GB:
        print(f"skipped: {days} days take about {size:.1f} GB, more than {MOST_GB}", file=sys.stderr)
        return there
    if not measured.left:
        print(f"skipped: {days} days, no time is left", file=sys.stderr)
        return there
    _write(root / "data", there, days)
    return days


class Measured:
    """The table of what was measured, kept after each figure."""

    def __init__(self, minutes: float) -> None:
        self.rows: list[dict[str, Any]] = []
        self._until = time.monotonic() + minutes * 60

    @property
    def left(self) -> float:
        """Seconds, not below 0."""
        return max(0.0, self._until - time.monotonic())

    def add(self, root: Path, command: str, family: str, days: int) -> None:
        """Measure, unless by the figures of fewer days it would end too late."""
        before = [row for row in self.rows if (row["command"], row["family"]) == (command, family) and "seconds" in row]
        likely = max((row["seconds"] * days / row["days"] for row in before if row["days"] < days), default=0.0)
        row: dict[str, Any] = {"command": command, "family": family, "days": days}
        if likely > self.left or not self.left:
            row["skipped"] = f"takes about {likely:.0f} s, {self.left:.0f} s are left" if likely else "no time is left"
        else:
            done = _run("--child", root, command, family, days)
            row |= json.loads(done.stdout) if not done.returncode else {"skipped": f"ended with {done.returncode}"}
            row |= {"met": not done.returncode and row["peak_gb"] < LIMIT_GB}
        self.rows.append(row)
        print(row, file=sys.stderr, flush=True)
        atomic_write_json(OUT, {"limit_gb": LIMIT_GB, "rows": self.table()})

    def table(self) -> list[dict[str, Any]]:
        """With seconds a day over those of the fewest days."""
        found = []
        for row in self.rows:
            same = [
                other for other in self.rows if (other["command"], other["family"]) == (row["command"], row["family"])
            ]
            least = min((other for other in same if "seconds" in other), key=lambda other: other["days"], default=None)
            if "seconds" in row and least is not None:
                a_day = row["seconds"] / row["days"]
                ratio = a_day * least["days"] / least["seconds"]
                row = row | {"s_a_day": round(a_day, 2), "ratio": round(ratio, 2)}
            found.append(row)
        return found


def main() -> int:
    """Measure, print the table, keep it; the exit code says whether all that was measured is below the limit."""
    from ghtrader.output import table

    parser = argparse.ArgumentParser(prog="make bench-year")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--days", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--families", nargs="+", choices=STRIDES, default=list(STRIDES))
    parser.add_argument("--commands", nargs="+", choices=COMMANDS, default=list(COMMANDS))
    asked = parser.parse_args()
    OUT.parent.mkdir(parents=True, exist_ok=True)
    need = FREE_GB * max(asked.days) / max(SIZES)
    if (free := shutil.disk_usage(OUT.parent).free / _GB) < need:
        print(f"skipped: bench-year needs {need:.0f} GB of free disk, there are {free:.0f} GB")
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the days are removed
    measured, sizes, there = Measured(asked.minutes), sorted(asked.days), 0
    with tempfile.TemporaryDirectory(dir=OUT.parent, prefix="year-") as folder, contextlib.suppress(KeyboardInterrupt):
        root = Path(folder)
        for days in sizes:
            there = _grow(root, there, days, measured)
        sizes = [days for days in sizes if days <= there]
        asked_for = [(command, family) for command in asked.commands for family in asked.families]
        # the fewest days and the most say how it grows; the others follow where there is time
        ends = list(dict.fromkeys([sizes[0], sizes[-1]]))
        for some in (ends, [days for days in sizes if days not in ends]):
            for command, family in [("load", "-"), *asked_for]:
                for days in some:
                    measured.add(root, command, family, days)
    found = measured.table()
    columns = [
        "command",
        "family",
        "days",
        "rows",
        "peak_gb",
        "load_s",
        "seconds",
        "s_a_day",
        "ratio",
        "met",
        "skipped",
    ]
    print(table([{name: row.get(name, "") for name in columns} for row in found], columns))
    print(f"written to {OUT}; ratio: seconds a day over those at {sizes[0]} days")
    return int(any(row.get("met") is False for row in found))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(child(Path(sys.argv[2]), sys.argv[3], sys.argv[4], int(sys.argv[5]))))
    elif sys.argv[1:2] == ["--write"]:
        from tests.support.full_days import trading_days, write_days

        places = [int(text) for text in sys.argv[3:]]
        write_days(Path(sys.argv[2]), trading_days(max(places[-1] + 1, 4)), places)
    else:
        sys.exit(main())
