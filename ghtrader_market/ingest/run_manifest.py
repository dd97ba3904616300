"""Writes the manifest of an ingest, `data/manifests/<run>.json`: what was asked for, what came, what did not and why.

It is written when the run begins and replaced when it ends. A run that was killed is closed by the next one, from the
run id in the manifests of the days it wrote. What a day is stands in the day's own manifest; the only thing of a run in
there is its id.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ghtrader_base.errors import GhtraderError, UnwritableError
from ghtrader_base.files import atomic_write_json, read_json
from ghtrader_base.processes import start_ticks
from ghtrader_base.version import code_version

if TYPE_CHECKING:
    from ghtrader_market.ingest.report import IngestReport
    from ghtrader_market.stores.lake.lake import Lake

FOLDER = "manifests"
RUNNING, DONE, FAILED, KILLED = "running", "done", "failed", "killed"


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")


def _days(pairs: Iterator[tuple[str, date]] | tuple[tuple[str, date], ...]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for symbol, day in sorted(pairs):
        found.setdefault(symbol, []).append(str(day))
    return found


class RunManifest:
    """The manifest of one ingest in progress.

    Parameters
    ----------
    lake : Lake
    run_id : str
        Of the pipeline run; empty outside of one. A run that ingests several times has several manifests.
    kind, source : str
        `download`, `import`, ...; where from.
    asked : mapping of (dataset, symbol) to days
    """

    def __init__(
        self, lake: Lake, run_id: str, kind: str, source: str, asked: Mapping[tuple[str, str], list[date]]
    ) -> None:
        folder = lake.root / FOLDER
        stem = run_id or f"{kind}-{datetime.now():%Y%m%dT%H%M%S}-{os.getpid()}"
        number = 1
        while (path := folder / (f"{stem}.json" if number == 1 else f"{stem}-{number}.json")).exists():
            number += 1
        self.path = path
        self._document: dict[str, Any] = {
            "run_id": run_id,
            "kind": kind,
            "source": source,
            "state": RUNNING,
            "started": _now(),
            "pid": os.getpid(),
            "start": start_ticks(os.getpid()) or 0,
            "code_version": code_version(),
            "asked": {
                f"{dataset}/{symbol}": [str(days[0]), str(days[-1]), len(days)]
                for (dataset, symbol), days in sorted(asked.items())
            },
        }
        atomic_write_json(path, self._document)

    def close(self, report: IngestReport, error: BaseException | None = None) -> None:
        """Say what became of it.

        Raises
        ------
        UnwritableError
            The disk refuses. The next ingest closes this manifest, from the days that carry its run's id; after an
            `error`, that is what is raised.
        """
        told = {
            "state": FAILED if error is not None else DONE,
            "ended": _now(),
            "error": "" if error is None else getattr(error, "message", None) or type(error).__name__,
            "rows": report.rows,
            "written": _days(report.written),
            "empty": _days(report.empty),
            "skipped": {
                f"{symbol} {day}": {"reason": reason, "detail": detail}
                for symbol, day, reason, detail in report.skipped
            },
            "pending": _days(report.pending),
        }
        with contextlib.suppress(UnwritableError) if error is not None else contextlib.nullcontext():
            atomic_write_json(self.path, self._document | told)


def close_killed_runs(lake: Lake) -> list[Path]:
    """Close manifests whose process is gone, with the days that carry their run id; returns their paths."""
    closed = []
    folder = lake.root / FOLDER
    for leftover in folder.glob(".*.tmp"):
        leftover.unlink(missing_ok=True)
    for path in sorted(folder.glob("*.json")):
        with contextlib.suppress(GhtraderError, KeyError, TypeError, FileNotFoundError):
            document = read_json(path)
            if document["state"] != RUNNING or start_ticks(document["pid"]) == document["start"]:
                continue
            asked = document["asked"].items()
            written = [pair for named, span in asked for pair in _written(lake, document, named, span)]
            told = {"state": KILLED, "ended": _now(), "written": _days(tuple(written))}
            atomic_write_json(path, document | told)
            closed.append(path)
    return closed


def _written(lake: Lake, document: Mapping[str, Any], named: str, span: list[Any]) -> Iterator[tuple[str, date]]:
    dataset, _, symbol = named.partition("/")
    first, last = date.fromisoformat(span[0]), date.fromisoformat(span[1])
    for day in lake.days(dataset, symbol):
        if first <= day <= last:
            manifest = lake.manifest(dataset, symbol, day)
            if manifest is not None and document["run_id"] and manifest.run_id == document["run_id"]:
                yield symbol, day
