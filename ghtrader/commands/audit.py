"""Defines `ghtrader audit`: is the lake what its manifests say, and what it was made from still the same."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Annotated

import typer

from ghtrader.commands.shared_options import (
    EndOption,
    HomeOption,
    JsonOption,
    StartOption,
    optional_day,
    settings_of,
    variety_key,
)
from ghtrader.output import emit, note
from ghtrader_base.errors import UnreachableError

_PRINTED = 50
_QUIET_S = 2.0
"""Seconds between two lines of progress where nobody watches a terminal."""


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def audit(
        dataset: Annotated[
            str, typer.Option("--dataset", help="ticks, main_l5, features, labels, or all (daily bars too).")
        ] = "all",
        var: Annotated[
            list[str] | None, typer.Option("--var", help="Variety, as its exchange writes it; may be repeated.")
        ] = None,
        symbol: Annotated[
            list[str] | None, typer.Option("--symbol", help="KQ.m@SHFE.cu, the same as --var cu; may be repeated.")
        ] = None,
        start: StartOption = "",
        end: EndOption = "",
        recompute: Annotated[
            bool, typer.Option("--recompute", help="Compute features and labels again and compare: slow.")
        ] = False,
        questdb: Annotated[
            bool, typer.Option("--questdb/--no-questdb", help="Compare with QuestDB, where one is configured.")
        ] = True,
        workers: Annotated[int, typer.Option("--workers", min=0, max=64, help="Days at once; 0: one a core.")] = 0,
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> int:
        """Integrity report: files, rows, and each dataset against what it was made from.

        1 where something is found; 4 where only QuestDB could not be compared.

        Example: ghtrader audit --dataset main_l5 --var cu
        """
        from ghtrader_assets.audit_home import audit_home

        settings = settings_of(home)
        first, last = optional_day(start, "--start"), optional_day(end, "--end")
        with _bar() as progress:
            report, path = audit_home(
                settings,
                dataset,
                [*(var or []), *(variety_key("", each) for each in symbol or [])],
                first,
                last,
                workers=workers,
                recompute=recompute,
                questdb=questdb,
                progress=progress,
                tell=note,
            )

        def text() -> str:
            lines = [finding.line() for finding in report.findings[:_PRINTED]]
            if len(report.findings) > _PRINTED:
                lines.append(f"... and {len(report.findings) - _PRINTED} more in the report")
            told = f"{report.days} days, {report.rows} rows in {report.seconds:.1f} s; QuestDB: {report.questdb}"
            verdict = "nothing found" if report.ok else f"{len(report.findings)} findings"
            sections = [section.line() for section in report.sections]
            if report.without_checksum:
                sections.append(f"{report.without_checksum} days have no checksum, an older version wrote them")
            origins = f"where the ticks come from: {report.origin_words()}"
            return "\n".join([*lines, f"{verdict}: {told}", *sections, origins, f"report: {path or 'not kept'}"])

        emit({**report.to_json(), "report": str(path or "")}, json, text)
        if not report.ok:
            return 1
        return UnreachableError.exit_code if report.questdb.startswith("not compared") else 0


@contextlib.contextmanager
def _bar() -> Iterator[Callable[[int, int, int], None]]:
    """Progress on stderr: a bar on a terminal, a line now and then elsewhere."""
    if not sys.stderr.isatty():
        told = [time.monotonic()]

        def line(done: int, total: int, rows: int) -> None:
            if time.monotonic() - told[0] >= _QUIET_S:
                told[0] = time.monotonic()
                note(f"audit: {done} of {total} days, {rows} rows")

        yield line
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("audit"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rows]} rows"))
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("audit", total=None, rows=0)
        yield lambda done, total, rows: shown.update(task, completed=done, total=total, rows=f"{rows:,}")
