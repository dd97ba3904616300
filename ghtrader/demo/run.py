"""Runs the whole demo: both parts in a home of their own, report.json and report.html, a table at the end.

The home is started over each time. Only what the demo itself makes is ever removed; a home with anything else in it is
refused.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from shlex import quote

from ghtrader.comparison_text import comparison_text
from ghtrader.demo import figures, recorded, report_page, service, simulated
from ghtrader.demo.effort import FULL, JUDGED, QUICK
from ghtrader.demo.pipeline_stages import LiveHalf
from ghtrader.demo.progress import Stages
from ghtrader.demo.report import DemoReport, PartReport, TradingFacts
from ghtrader.demo.side_by_side import families_side_by_side
from ghtrader_base.disk_space import require_room
from ghtrader_base.errors import ConfigError, FailedError, RefusedError
from ghtrader_base.files import atomic_write_json, atomic_write_text, ensure_dir
from ghtrader_base.locks import resource_lock
from ghtrader_base.settings import load_settings

_MARKER = ".ghtrader-demo"
_NAMED = 10
_BLOCK_BYTES = 512
_LEAST_BYTES, _QUICK_BYTES = 60e6, 20e6
"""What a demo writes at least, compiled code left out: 80 MB were measured, most of it the exchange's ticks and the
arrays of days; with --quick a third of the ticks."""
_KEPT = frozenset({"numba", "locks"})
"""Compiled code, which `make setup` puts there and another demo need not make again; lock files are never deleted."""
MADE = _KEPT | {
    "accounts", "cache", "dagster", "data", "exchange", "logins", "logs", "mlflow", "models", "processes",
    "questdb_debt", "runs", "state", "tmp", "tokens", "tqsdk",
}  # fmt: skip
"""Folders that a demo, or `ghtrader up` on what it left, makes at the top of its home."""


_SERVED = _KEPT | {"dagster", "logins", "logs", "mlflow", "processes", "tmp"}
"""Folders that `ghtrader up` makes in a new home."""


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    """What `ghtrader demo` was asked for.

    Attributes
    ----------
    home : Path
        Emptied first.
    seed : int
        Of the simulated world and of every fit.
    signal : bool
        Whether the world has a signal planted.
    quick : bool
        Fewer ticks a day and the judged horizon alone; for a look, not for a verdict.
    verbose : bool
        Also the pipeline's own progress.
    service : ServiceOptions or None
        Use the service that the environment names instead of a simulated exchange.
    """

    home: Path
    seed: int = 1
    signal: bool = True
    quick: bool = False
    verbose: bool = False
    service: service.ServiceOptions | None = None


def _is_marker(name: str) -> bool:
    # or what a kill leaves of writing it
    return name == _MARKER or (name.startswith(f".{_MARKER}.") and name.endswith(".tmp"))


def strangers(home: Path) -> list[str]:
    """Names at the top of a demo's home that no demo made, sorted.

    Where no demo was begun: any but compiled code, and what the web UIs made in a home in which nothing ever ran.
    """
    made = MADE if (home / _MARKER).is_file() else _SERVED if _never_ran(home) else {"numba"}
    return sorted(
        path.name for path in home.iterdir() if not _is_marker(path.name) and not (path.name in made and path.is_dir())
    )


def _never_ran(home: Path) -> bool:
    """Whether nothing was ever done in a home but to show its web UIs (`make ui` before the first demo)."""
    runs = (home / "dagster" / "history" / "runs").glob("*.db")
    artifacts = home / "mlflow" / "artifacts"
    return all(run.stem == "index" for run in runs) and not (artifacts.is_dir() and any(artifacts.iterdir()))


def claim(home: Path) -> None:
    """Make a demo's home, or see that it is one: nothing in it is touched.

    Raises
    ------
    RefusedError
        The folder holds something no demo made.
    ConfigError
        It is no folder, or none can be read or made there.
    """
    try:
        if home.exists() and not home.is_dir():
            raise ConfigError(f"{home} is no folder", "choose another --home; nothing was touched")
        others = strangers(home) if home.exists() else []
    except OSError as exc:
        raise ConfigError(f"cannot look into {home}: {exc.strerror or exc}", "choose another --home") from exc
    if others:
        named = ", ".join(others[:_NAMED]) + (f" and {len(others) - _NAMED} more" if len(others) > _NAMED else "")
        raise RefusedError(
            f"{home} holds what the demo did not make: {named}",
            "move it away or choose another --home; nothing was touched",
        )
    ensure_dir(home)
    atomic_write_text(home / _MARKER, "This folder is emptied by each `ghtrader demo`.\n")


def start_over(home: Path) -> None:
    """Empty a claimed home but for compiled code and locks; links are removed, never followed."""
    for path in home.iterdir():
        if path.name == _MARKER or not (_is_marker(path.name) or path.name in MADE - _KEPT):
            continue
        try:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        except OSError as exc:
            raise FailedError(f"cannot empty {path}: {exc.strerror or exc}", "end what still writes there") from exc


def run_demo(options: DemoOptions) -> DemoReport:
    """Run both parts and write the report into `report_folder`.

    Raises
    ------
    GhtraderError
        Whatever a stage ended with.
    """
    home = options.home.expanduser().absolute()
    claim(home)
    stages = Stages(options.verbose)
    settings, effort = load_settings(home), QUICK if options.quick else FULL
    in_force = {
        "GHTRADER_HOME": str(home),
        "XDG_STATE_HOME": str(home / "state"),
        "GHTRADER_HORIZONS": ",".join(map(str, effort.horizons)),
    }
    before = {name: os.environ.get(name) for name in (*in_force, "MLFLOW_TRACKING_URI")}
    os.environ |= in_force
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    try:
        with resource_lock(settings.locks, "demo", "ghtrader demo"):
            _require_room(home, options)
            start_over(home)
            if options.service is not None:
                first = service.run(home, options.service, options.seed, stages, effort)
            else:
                scenario = simulated.scenario_of(options.seed, options.signal, effort)
                first = simulated.run(home, scenario, stages, effort)
            second = recorded.run(home, options.seed, stages, effort)
            return _report(options, home, stages, first, second)
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _require_room(home: Path, options: DemoOptions) -> None:
    """NoRoomError, before anything is removed, where a demo cannot fit even without what an earlier one left."""
    need = _QUICK_BYTES if options.quick or options.service is not None else _LEAST_BYTES
    left = 0
    for path in (path for name in MADE - _KEPT for path in (home / name).rglob("*")):
        with contextlib.suppress(OSError):  # a page that is still served may write there
            left += path.lstat().st_blocks * _BLOCK_BYTES
    require_room(home, need - left, "a demo")


def report_folder(home: Path) -> Path:
    """Where a demo's report lies: report.json and report.html."""
    return home / "runs" / "demo"


def _report(
    options: DemoOptions,
    home: Path,
    stages: Stages,
    first: LiveHalf,
    second: recorded.RecordedHalf,
) -> DemoReport:
    folder = ensure_dir(report_folder(home))
    with stages.stage("report"):
        compared = [families_side_by_side(home, half.part.pipeline, JUDGED) for half in (first, second)]
        parts = [
            report_page.PartPage(
                kind=first.name, title=first.title, badge=first.name, unit="day", judged=JUDGED,
                part=first.part, comparison=compared[0], comparison_page=_link(folder, home, first.part),
                plots=figures.live_plots(home, first, compared[0]),
            ),
            report_page.PartPage(
                kind="real", title="CFFEX IF2101 on 2021-01-04", badge="real recording", unit="block",
                judged=JUDGED, part=second.part, comparison=compared[1],
                comparison_page=_link(folder, home, second.part),
                plots=figures.recorded_plots(home, second, compared[1]),
            ),
        ]  # fmt: skip
        report = DemoReport(
            version=metadata.version("ghtrader"),
            seed=options.seed,
            seconds=round(stages.elapsed, 1),
            stages=stages.seconds,
            judged_horizon=JUDGED,
            live=first.part,
            recorded=second.part,
        )
        atomic_write_text(folder / "report.html", report_page.render(report, parts))
    atomic_write_json(folder / "report.json", report.to_dict())
    return report


def _link(folder: Path, home: Path, part: PartReport) -> str:
    """From the report's folder to the page of a part's comparison."""
    return os.path.relpath((home / part.pipeline.comparison).with_suffix(".html"), folder)


def closing_text(report: DemoReport, home: Path) -> str:
    """The table a person reads at the end, and what to do next."""
    lines: list[str] = []
    judged = report.judged_horizon
    for name, part in report.parts.items():
        data = part.pipeline.data
        lines += ["", f"{name.upper()}: {data.ticks:,} ticks, {data.days} days, {data.segments} segments, "
                  f"{data.factors} factors"]  # fmt: skip
        lines.append(comparison_text(families_side_by_side(home, part.pipeline, judged)))
        if data.left_out:
            lines.append(f"one level only: {len(data.left_out)} factors that need depth are left out")
        lines += [f"left out {day}" for day in data.left_out_days]
        if part.trading is not None:
            lines += _trading_lines(part.trading)
        lines.append(part.verdict(judged))
    lines += [
        "",
        f"{report.seconds:.0f} s. Report: {report_folder(home) / 'report.html'}",
        f"export GHTRADER_HOME={quote(str(home))}",
        f"export DAGSTER_HOME={quote(str(home / 'dagster'))}",
        f"web UIs: ghtrader up --home {quote(str(home))}   (make ui)",
    ]
    return "\n".join(lines)


def _trading_lines(trading: TradingFacts) -> list[str]:
    exchange = ""
    if trading.exchange_fills is not None:
        equal = "equal one by one" if trading.fills_equal_exchange else "DIFFERENT"
        exchange = f" (the exchange's own record: {trading.exchange_fills}, {equal})"
    lines = [
        f"traded {trading.ticks:,} ticks ({trading.mode}): {trading.orders} orders, "
        f"{trading.fills} fills{exchange}, {trading.round_trips} round trips, "
        f"net {trading.net_pnl:+,.0f} CNY after {trading.fees:,.0f} fees"
    ]
    latency, batch = trading.tick_to_target_ms, trading.live_equals_batch
    if latency["count"]:
        lines.append(
            f"tick to target p50 {latency['p50']:.2f} ms, p99 {latency['p99']:.2f} ms over {latency['count']:,} ticks"
        )
    if batch is not None:
        lines.append(f"live factors against batch: {batch.ticks:,} ticks, {batch.different} different")
    return lines
