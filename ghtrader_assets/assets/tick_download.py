"""Downloads ticks for the ticks asset and the jobs beside it: fetches under locks, and reports what is here.

Which contracts and days are wanted is decided by them; how a day is fetched in `ghtrader_market.ingest.download`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import dagster as dg
import pyarrow as pa

from ghtrader_assets.partitions import day_key
from ghtrader_assets.resources.progress import plot_bars, say, throttled
from ghtrader_assets.resources.resources import HomeResource, SourceResource
from ghtrader_base.errors import FailedError, GhtraderError, IntegrityError
from ghtrader_base.files import content_hash
from ghtrader_base.lock_keys import ticks_key
from ghtrader_market.ingest.download import IngestReport, dataset_of, download, policy_of
from ghtrader_market.reference.varieties import get_variety
from ghtrader_market.sources.base import ContractInfo
from ghtrader_market.stores.lake.manifests import DayManifest

_PROGRESS_S = 0.2
Volumes = Mapping[str, Mapping[date, int]]


def bar_volumes(bars: pa.Table) -> dict[str, dict[date, int]]:
    """Lots by contract and day of `DAILY_BAR_SCHEMA` rows.

    Not of a contract with a bar whose lots are not known: a day without ticks would count as one without trade. Its
    bars are asked for with its ticks.
    """
    found: dict[str, dict[date, int]] = {}
    unknown: set[str] = set()
    columns = (bars[name].to_pylist() for name in ("symbol", "trading_day", "volume"))
    for symbol, day, volume in zip(*columns, strict=True):
        if volume is None:
            unknown.add(symbol)
        else:
            found.setdefault(symbol, {})[day] = volume
    return {symbol: lots for symbol, lots in found.items() if symbol not in unknown}


def fetch_ticks(
    home: HomeResource,
    source: SourceResource,
    contracts: Sequence[str | ContractInfo],
    start: date,
    end: date,
    run_id: str,
    *,
    workers: int = 0,
    volumes: Volumes | None = None,
    further_locks: Iterable[str] = (),
) -> IngestReport:
    """Fetch what is missing of some symbols, holding each one's lock, telling the run how it goes."""
    symbols = [item if isinstance(item, str) else item.symbol for item in contracts]
    settings = home.settings
    keys = [*further_locks, *(ticks_key(symbol) for symbol in symbols)]
    with home.lock(keys, f"download {', '.join(symbols[:3])}", run_id), source.opened(settings) as opened:
        report = download(
            opened,
            home.lake,
            home.calendar,
            contracts,
            start,
            end,
            run_id=run_id,
            workers=min(workers or 2, settings.max_parallel_tqsdk_jobs),
            progress=throttled(say, _PROGRESS_S),
            volumes=volumes,
            policy=policy_of(settings),
            tell=say,
        )
    say(
        f"{report.rows} ticks in {len(report.written)} contract-days, {report.present} were there, "
        f"{len(report.empty) + report.known_empty} without ticks, {len(report.skipped)} skipped"
    )
    return report


def require_none_skipped(report: IngestReport) -> None:
    """A download that had to skip days has not succeeded, whatever came.

    Raises
    ------
    FailedError
        Naming the first of them.
    """
    if report.skipped:
        raise _skipped(report)


def day_errors(report: IngestReport, variety: str) -> dict[date, GhtraderError]:
    """Days of which a contract was skipped, or that are not over at the source, each with what is missing of it."""
    found: dict[date, GhtraderError] = {}
    for day in sorted({day for _, day in report.pending}):
        found[day] = FailedError(
            f"{variety} on {day} is not over yet at the source", "what is finished stays; run it again later"
        )
    for day in sorted({day for _, day, _, _ in report.skipped}):
        found[day] = _skipped(replace(report, skipped=tuple(row for row in report.skipped if row[1] == day)))
    return found


def _skipped(report: IngestReport) -> FailedError:
    return FailedError(
        f"{len(report.skipped)} contract-days were skipped: {report.skipped_words()}",
        "the others are stored; `ghtrader update` asks again, `ghtrader data coverage` lists them",
    )


def symbols_with_ticks(home: HomeResource, variety: str) -> list[str]:
    """Contracts of a variety that have raw ticks in the lake."""
    product = get_variety(variety)
    prefix = f"{product.exchange}.{product.product}"
    return [symbol for symbol in home.lake.keys("ticks") if symbol.rstrip("0123456789") == prefix]


def ticks_metadata(home: HomeResource, symbols: list[str], day: date) -> dict[str, Any]:
    """Rows, contracts and hash of one trading day's raw ticks, from the manifests."""
    manifests = {symbol: home.lake.manifest("ticks", symbol, day) for symbol in symbols}
    present = {symbol: manifest for symbol, manifest in manifests.items() if manifest is not None and manifest.rows}
    rows = {symbol: manifest.rows for symbol, manifest in present.items()}
    metadata: dict[str, Any] = {
        "rows": sum(rows.values()),
        "contracts": len(rows),
        "rows_by_contract": rows,
        "content_hash": content_hash({symbol: manifest.content_hash for symbol, manifest in present.items()}),
    }
    if rows:
        title = f"Ticks by contract, {day}"
        metadata["plot"] = plot_bars(list(rows), {"ticks": [float(n) for n in rows.values()]}, title, "ticks")
    return metadata


def observe_days(
    context: Any, home: HomeResource, symbol: str, variety: str, days: Iterable[date]
) -> tuple[int, dict[str, GhtraderError]]:
    """Report an observation for each of these days that is here; how many are, and which do not read.

    One symbol's day is never a materialization: that would mark a whole variety's day as done.
    """
    dataset = dataset_of(symbol)
    found = 0
    failed: dict[str, GhtraderError] = {}
    for day in days:
        try:
            manifest: DayManifest | None = home.lake.manifest(dataset, symbol, day)
        except IntegrityError as error:
            failed[f"{symbol} {day}"] = error
            continue
        if manifest is None:
            continue
        found += 1
        stored = {"symbol": symbol, "rows": manifest.rows, "content_hash": manifest.content_hash}
        metadata = {**stored, **manifest.details.to_json()}
        asset = "raw_ticks" if dataset == "ticks" else dataset
        context.log_event(dg.AssetObservation(asset, partition=day_key(day, variety), metadata=metadata))
    return found, failed


def report_whole_days(
    context: Any, home: HomeResource, variety: str, days: Iterable[date], skipped: Iterable[date]
) -> dict[str, GhtraderError]:
    """Materialize raw_ticks of days of which nothing was skipped, one by one: for a run that cannot claim them all.

    Returns days of which something stored does not read, each with what.
    """
    symbols, lacking = symbols_with_ticks(home, variety), set(skipped)
    failed: dict[str, GhtraderError] = {}
    for day in sorted(set(days) - lacking):
        try:
            metadata = ticks_metadata(home, symbols, day)
        except IntegrityError as error:
            failed[f"{variety} {day}"] = error
            continue
        if metadata["rows"]:
            context.log_event(dg.AssetMaterialization("raw_ticks", partition=day_key(day, variety), metadata=metadata))
    return failed
