"""Prints what a command has to say: JSON or text on stdout, progress on stderr, runs and tables as lines.

stdout carries the answer alone (one JSON document with --json); everything that tells how work goes is stderr.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ghtrader_base.disk_errors import disk_errors
from ghtrader_base.errors import UnwritableError

if TYPE_CHECKING:
    from ghtrader_assets.runs.execute import RunResult


def emit(obj: Any, as_json: bool, text: Callable[[], str]) -> None:
    """Print the answer: `obj` as one JSON document (NaN and infinities as null), or the text a person reads."""
    if as_json:
        answer = json.dumps(_finite(obj), ensure_ascii=False, default=str, allow_nan=False)
    else:
        answer = text().rstrip("\n")
    with disk_errors("standard output", doing="cannot write the answer to standard output"):
        sys.stdout.write(answer + "\n")
        sys.stdout.flush()


def _finite(obj: Any) -> Any:
    """The same with None where a number is none: JSON has no word for NaN, and an absent level is one."""
    if isinstance(obj, float):
        return obj if math.isfinite(obj) else None
    if isinstance(obj, dict):
        return {key: _finite(value) for key, value in obj.items()}
    if isinstance(obj, list | tuple):
        return [_finite(value) for value in obj]
    return obj


@contextlib.contextmanager
def progress_display() -> Iterator[Callable[[str], object]]:
    """Where a pipeline command's progress goes: a bar on a terminal, plain lines elsewhere.

    Always to the stderr this process began with: a step's output is captured by descriptor meanwhile.
    """
    from ghtrader_assets.runs.execute import stderr_progress

    if not sys.stderr.isatty():
        yield stderr_progress()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    from ghtrader_assets.resources.progress import StepLine
    from ghtrader_market.ingest.report import ProgressLine

    with os.fdopen(os.dup(sys.stderr.fileno()), "w", buffering=1) as stream:
        console = Console(file=stream, force_terminal=True)
        with Progress(BarColumn(), TextColumn("{task.description}"), console=console, transient=True) as bar:
            task = bar.add_task("", total=None, visible=False)

            def show(line: str) -> None:
                if isinstance(line, StepLine):
                    bar.update(task, completed=line.done, total=line.wanted, description=str(line), visible=True)
                elif isinstance(line, ProgressLine):
                    bar.update(task, completed=line.days, total=line.days_wanted, description=str(line), visible=True)
                else:
                    console.print(f"{datetime.now():%H:%M:%S} {line}", markup=False, highlight=False)

            yield show


def note(text: str) -> None:
    """One line about how the work goes, on stderr; a full disk behind it ends no work."""
    with contextlib.suppress(UnwritableError), disk_errors():
        sys.stderr.write(text.rstrip("\n") + "\n")
        sys.stderr.flush()


def table(rows: list[dict[str, Any]], columns: list[str] | None = None) -> str:
    """Rows as a plain aligned table a person can read and `grep`."""
    if not rows:
        return "(nothing)"
    names = columns or list(rows[0])
    cells = [[str(row.get(name, "")) for name in names] for row in rows]
    widths = [max(len(name), *(len(line[i]) for line in cells)) for i, name in enumerate(names)]
    lines = [names, ["-" * width for width in widths], *cells]
    padded = (zip(line, widths, strict=True) for line in lines)
    return "\n".join("  ".join(cell.ljust(width) for cell, width in line).rstrip() for line in padded)


def emit_runs(runs: list[RunResult], as_json: bool, **extra: Any) -> None:
    """Print what a pipeline command did: the run ids and one line for each thing made."""
    rows = [run.to_dict() for run in runs]

    def text() -> str:
        lines = []
        for row in rows:
            lines.append(f"run {row['run_id']} ({row['seconds']:.1f} s)")
            for name, found in row["made"].items():
                lines.append(f"  {name}: {_summary(found)}")
                lines += [f"    left out {day['day']}: {day['detail']}" for day in found.get("left_out_days", ())]
        return "\n".join([*lines, *(f"{key}: {value}" for key, value in extra.items())])

    emit({"runs": rows, **extra}, as_json, text)


def _summary(found: dict[str, Any]) -> str:
    parts = [
        f"{key} {value}" for key, value in found.items() if isinstance(value, str | int | float) and "hash" not in key
    ]
    return ", ".join(parts[:6])
