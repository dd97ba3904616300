"""Builds many days of one series: in parallel, incremental, a failing day named and the others built.

What belongs here: which days are worked on, how many at once, and the series' own `manifest.json`. Days are built by
threads of this process: factors, labels, hashing and compression all run outside Python's lock, a thread starts in no
time, and a kill takes the whole build, never half of it.

Points where a test may kill a run: ``build.day->day``, ``build.days->manifest``.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any

from ghtrader_base.disk_errors import disk_error
from ghtrader_base.disk_space import require_room
from ghtrader_base.errors import FailedError, GhtraderError, IntegrityError, RefusedError, UnwritableError
from ghtrader_base.failpoints import failpoint
from ghtrader_base.files import atomic_write_json
from ghtrader_base.usual_places import usual_places
from ghtrader_market.reference.tick_origin import TickOrigin, require_one_origin
from ghtrader_market.reference.trading_calendar import TradingCalendar, bundled_calendar
from ghtrader_market.stores.day_details import FeatureDetails, LabelDetails
from ghtrader_models.bundles.left_out_days import LeftOutDay, describe_left_out
from ghtrader_models.bundles.schema_versions import schema_version_of
from ghtrader_models.datasets.build_day import (
    FEATURES,
    LABELS,
    BuildResult,
    QualityGate,
    build_day,
    refuse_other_configuration,
)
from ghtrader_models.datasets.day_selection import select_days, without_rows
from ghtrader_models.datasets.leakage import check_day
from ghtrader_models.datasets.load import traits_of
from ghtrader_models.datasets.tick_input import MAIN_L5, ProvenanceError
from ghtrader_models.factors.factor_set import FactorSet
from ghtrader_models.labels.labels import LabelSpec

if TYPE_CHECKING:
    from ghtrader_market.stores.lake.lake import Lake

MANIFEST = "manifest.json"
_VALUE_BYTES = 1
"""Of a factor's value in the lake at least: compressed, two are usual."""
MAX_WORKERS = 4
"""Days at once unless told otherwise: a day of 256 factors holds about 300 MB while it is written."""


@dataclass
class BuildReport:
    """What became of the days of one series.

    Attributes
    ----------
    symbol : str
    built : dict of date to BuildResult
        Days that are now there; `BuildResult.skipped` says which were before.
    failed : dict of date to GhtraderError
        Days that could not be built, and why.
    left_out : dict of date to GhtraderError
        Days without provenance, where the caller was not strict.
    """

    symbol: str
    built: dict[date, BuildResult] = field(default_factory=dict)
    failed: dict[date, GhtraderError] = field(default_factory=dict)
    left_out: dict[date, GhtraderError] = field(default_factory=dict)

    def raise_if_failed(self) -> None:
        """Raise what stopped the first failing day, all others named.

        Raises
        ------
        GhtraderError
            Of the first day's own kind where it failed alone, else `FailedError`.
        """
        if not self.failed:
            return
        first = min(self.failed)
        error = self.failed[first]
        others = f"{len(self.built)} other days are built" if self.built else "no other day was asked for"
        if len(self.failed) == 1:
            raise type(error)(f"{first}: {error.message} ({others})", error.hint) from error
        named = "; ".join(f"{day}: {self.failed[day].message}" for day in sorted(self.failed)[:5])
        more = f"; and {len(self.failed) - 5} more" if len(self.failed) > 5 else ""
        raise FailedError(f"{len(self.failed)} days of {self.symbol} failed ({others}): {named}{more}", error.hint)


def build_days(
    lake: Lake,
    symbol: str,
    days: Iterable[date],
    factor_set: FactorSet,
    label_spec: LabelSpec,
    *,
    run_id: str,
    overwrite: bool = False,
    calendar: TradingCalendar | None = None,
    kind: str = MAIN_L5,
    gate: QualityGate | None = None,
    strict: bool = True,
    mix: bool = False,
    workers: int = 0,
    on_day: Callable[[date, BuildResult | GhtraderError, int, int], None] | None = None,
) -> BuildReport:
    """Build the missing or changed days, in any order.

    Parameters
    ----------
    lake, symbol, factor_set, label_spec, run_id, overwrite, calendar, kind, gate
        As `build_day.build_day`.
    days : iterable of date
        Trading days; each counts once.
    strict : bool
        A day without provenance fails. Where off, it is left out and named.
    mix : bool
        Days of different markets may stand in the series.
    workers : int
        Days at once; 0: one a core, at most `MAX_WORKERS`.
    on_day : callable, optional
        Told of each day as it ends, with how many are done and of how many; in the calling thread.

    Returns
    -------
    BuildReport
        Any day may have failed: see `BuildReport.raise_if_failed`.

    Raises
    ------
    RefusedError
        Stored days were built with another configuration, or are of another market, or there is no room for the new
        ones; nothing was touched.
    UnwritableError
        The disk refuses on the way; days built before stay.
    FailedError
        No day was built with these factors and labels yet, and one of them sees what it may not (`leakage`); nothing
        was touched.
    """
    wanted = sorted(set(days))
    calendar = calendar or bundled_calendar()
    if not overwrite:
        for day in lake.days(FEATURES, symbol):
            with contextlib.suppress(IntegrityError):  # a garbled manifest is that day's fault alone: its build says so
                refuse_other_configuration(lake, symbol, day, factor_set, label_spec)
    if not mix:
        require_one_origin(symbol, _origins(lake, kind, symbol, wanted))
    new = wanted if overwrite else sorted(set(wanted).difference(lake.days(FEATURES, symbol)))
    _require_room(lake, kind, symbol, new, factor_set)
    if not _was_built(lake, symbol, factor_set, label_spec):
        _refuse_leaks(lake, calendar, kind, symbol, wanted, factor_set, label_spec)
    report = BuildReport(symbol)
    stop = threading.Event()

    def work(day: date) -> BuildResult:
        if stop.is_set():
            raise FailedError("the build was stopped")
        return build_day(
            lake, symbol, day, factor_set, label_spec,
            run_id=run_id, overwrite=overwrite, calendar=calendar, kind=kind, gate=gate,
        )  # fmt: skip

    with ThreadPoolExecutor(_workers(workers, len(wanted)), thread_name_prefix="build") as pool:
        pending: dict[Future[BuildResult], date] = {pool.submit(work, day): day for day in wanted}
        try:
            while pending:
                done, _ = wait(pending, return_when=FIRST_COMPLETED)
                for future in sorted(done, key=lambda one: pending[one]):
                    outcome = _take(report, pending.pop(future), future, strict)
                    if on_day is not None:
                        on_day(*outcome, len(wanted) - len(pending), len(wanted))
                    if isinstance(outcome[1], UnwritableError):  # it would refuse the others as well
                        raise outcome[1]
                    failpoint("build.day->day")
        except BaseException:  # a Ctrl-C: days under way end whole, no other begins
            stop.set()
            raise
    failpoint("build.days->manifest")
    write_series_manifests(lake, symbol)
    return report


def _origins(lake: Lake, kind: str, symbol: str, wanted: Iterable[date]) -> dict[date, TickOrigin | None]:
    """Where the ticks come from of the days that are to be built, and of those that the series has already."""
    found: dict[date, TickOrigin | None] = {}
    for dataset, days in ((FEATURES, lake.days(FEATURES, symbol)), (kind, wanted)):
        for day in days:
            with contextlib.suppress(IntegrityError):  # a garbled manifest is that day's fault alone: its build says so
                if (manifest := lake.manifest(dataset, symbol, day)) is not None:
                    found[day] = manifest.details.origin
    return found


def _require_room(lake: Lake, kind: str, symbol: str, days: Iterable[date], factor_set: FactorSet) -> None:
    """NoRoomError where features of these days cannot fit."""
    rows = count = 0
    for day in days:
        with contextlib.suppress(IntegrityError):  # its build says so
            if (manifest := lake.manifest(kind, symbol, day)) is not None:
                rows, count = rows + manifest.rows, count + 1
    if rows:
        need = rows * len(factor_set.names) * _VALUE_BYTES
        require_room(lake.root, need, f"a build of {count} days of {symbol}, {rows:,} rows")


def _was_built(lake: Lake, symbol: str, factor_set: FactorSet, label_spec: LabelSpec) -> bool:
    """Whether a day of the series was built with these factors and labels before."""
    for day in lake.days(FEATURES, symbol):
        try:
            features, labels = lake.manifest(FEATURES, symbol, day), lake.manifest(LABELS, symbol, day)
        except IntegrityError:  # its build says so
            continue
        if features is not None and labels is not None:
            hashes = (features.features.spec_hash, labels.labels.spec_hash)
            if hashes == (factor_set.spec_hash, label_spec.spec_hash):
                return True
    return False


def _refuse_leaks(
    lake: Lake, calendar: TradingCalendar, kind: str, symbol: str, days: Iterable[date], factor_set: FactorSet,
    label_spec: LabelSpec,
) -> None:  # fmt: skip
    """FailedError where a factor or label sees what it may not on the first of these days that can be read."""
    for day in days:
        try:
            found = check_day(lake, calendar, kind, symbol, day, factor_set=factor_set, label_spec=label_spec)
        except GhtraderError:  # the day's own fault: its build names it
            continue
        if found.leaks:
            named = "; ".join(map(str, found.leaks[:3]))
            more = f"; and {len(found.leaks) - 3} more" if len(found.leaks) > 3 else ""
            raise FailedError(
                f"{len(found.leaks)} factors or labels of {symbol} see what they may not: {named}{more}",
                "correct or leave them out; `ghtrader factors leakage` tells more",
            )
        return


def odd_days(lake: Lake, symbol: str, days: Iterable[date], calendar: TradingCalendar) -> list[LeftOutDay]:
    """Those of some built days that do not go with the most of the series, ascending: `train` would leave them out."""
    wanted, traits, unlabelled = set(days), [], []
    for day in lake.days(FEATURES, symbol):
        features, labels = lake.manifest(FEATURES, symbol, day), lake.manifest(LABELS, symbol, day)
        if features is None or labels is None:
            continue
        traits.append(traits_of(features, labels, calendar))
        if not any(sum(counted[1:]) for counted in (labels.labels.counts or {}).values()):
            unlabelled.append(without_rows(day))
    odd = {found.day: found for found in (*unlabelled, *select_days(traits).left_out)}
    return [odd[day] for day in sorted(odd) if day in wanted]


def refuse_odd_days(lake: Lake, symbol: str, days: Iterable[date], calendar: TradingCalendar) -> None:
    """Refuse where there are `odd_days`.

    Raises
    ------
    RefusedError
        Naming them; they are built all the same.
    """
    if odd := odd_days(lake, symbol, days, calendar):
        raise RefusedError(
            f"{len(odd)} days of {symbol} do not go with the others: {describe_left_out(odd)}",
            "all are built; without --strict this is no failure, and training leaves them out",
        )


def _take(
    report: BuildReport, day: date, future: Future[BuildResult], strict: bool
) -> tuple[date, BuildResult | GhtraderError]:
    """Note what became of a day."""
    try:
        result = future.result()
    except ProvenanceError as exc:
        (report.failed if strict else report.left_out)[day] = exc
        return day, exc
    except GhtraderError as exc:
        report.failed[day] = exc
        return day, exc
    except Exception as exc:  # one day's fault is that day's alone
        error = disk_error(exc, *usual_places()) or FailedError(
            f"{type(exc).__name__}: {exc}", "run it again with --debug for the traceback"
        )
        error.__cause__ = exc
        report.failed[day] = error
        return day, error
    report.built[day] = result
    return day, result


def _workers(asked: int, days: int) -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(asked or min(cores, MAX_WORKERS), max(days, 1)))


def write_series_manifests(lake: Lake, symbol: str) -> None:
    """Write `manifest.json` of a series' features and of its labels from what their days say.

    It tells what the whole folder is: the newest day's hashes and versions, configurations by hash, and per day the
    hashes of ticks, schedule, configuration and content. Made from the days' manifests alone, so that any order of
    builds leaves the same bytes.
    """
    for dataset in (FEATURES, LABELS):
        rows: dict[str, dict[str, Any]] = {}
        configurations: dict[str, Any] = {}
        for day in lake.days(dataset, symbol):
            try:
                found = lake.manifest(dataset, symbol, day)
            except IntegrityError:  # named by the day's own build, and by the audit
                continue
            if found is None:
                continue
            known: FeatureDetails | LabelDetails = found.features if dataset == FEATURES else found.labels
            record = known.factor_set if isinstance(known, FeatureDetails) else known.label_spec
            configurations.setdefault(str(known.spec_hash), None if record is None else record.to_json())
            rows[day.isoformat()] = {
                "rows": found.rows,
                "schema_version": schema_version_of(known),
                "spec_hash": known.spec_hash,
                "tick_hash": known.source_hash(found.source),
                "schedule_hash": known.schedule_hash,
                "segment_id": known.segment_id,
                "content_hash": found.content_hash,
                "code_version": found.code_version,
                **({"quality": known.quality.to_json()} if known.quality is not None else {}),
                **({"origin": known.origin.words} if known.origin is not None else {}),
            }
        if rows:
            newest = rows[max(rows)]
            document = {
                "dataset": dataset,
                "symbol": symbol,
                **{name: newest[name] for name in ("schema_version", "spec_hash", "schedule_hash", "code_version")},
                "configurations": configurations,
                "days": rows,
            }
            atomic_write_json(lake.key_path(dataset, symbol) / MANIFEST, document)
