"""Notes what a person declares about days whose manifests do not say where their ticks come from.

Such days are those of older versions, and of services that do not say what they are. The rows stay as they are: only
the manifests are written anew, of the ticks and of what was built of them. What a day says by itself is not a person's
to change, and a simulated day is never called a real one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from ghtrader_base.errors import FailedError, RefusedError
from ghtrader_base.lock_keys import build_key, main_l5_key, ticks_key
from ghtrader_base.locks import resource_lock
from ghtrader_base.settings import Settings
from ghtrader_market.reference.tick_origin import OriginKind, TickOrigin, origins_of, words_of
from ghtrader_market.reference.varieties import variety_of
from ghtrader_market.stores.day_details import DayDetails, DeclaredOrigin, TickDetails
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_market.stores.lake.manifests import DayManifest
from ghtrader_market.stores.mirror.mirrored_lake import open_lake, require_second_store

_BUILT = ("features", "labels")


@dataclass(frozen=True, kw_only=True)
class DeclaredDays:
    """What was noted: the origin, contract-days of ticks, and how many days built of them say so too."""

    origin: TickOrigin
    ticks: tuple[tuple[str, date], ...]
    built: int

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        days = [{"symbol": symbol, "day": str(day)} for symbol, day in self.ticks]
        return {"origin": self.origin.to_dict(), "days": days, "built_days": self.built}


def contracts_with_ticks(lake: Lake, variety: str) -> list[str]:
    """Contracts of a variety that have ticks in the lake."""
    return [symbol for symbol in lake.keys("ticks") if variety_of(symbol).key == variety]


def declare_origin(
    settings: Settings,
    symbols: Iterable[str],
    start: date | None,
    end: date | None,
    origin: TickOrigin,
    declared: DeclaredOrigin,
) -> DeclaredDays:
    """Note the origin of every day of ticks of some contracts in a range, and of what was built of them.

    Parameters
    ----------
    settings : Settings
    symbols : iterable of str
        Contracts.
    start, end : date, optional
        First and last trading day; all there are where absent.
    origin : TickOrigin
        Where the ticks come from.
    declared : DeclaredOrigin
        Who says so, when and why.

    Raises
    ------
    FailedError
        None of the contracts has ticks in the range.
    RefusedError
        A day says by itself where it comes from, or was declared simulated and is now called real. Nothing is changed.
    LockHeldError
        Somebody else writes these days.
    """
    lake, wanted = open_lake(settings), sorted(set(symbols))
    require_second_store(lake)
    with ExitStack() as locks:
        series = sorted({variety_of(symbol).continuous_symbol for symbol in wanted})
        keys = [*map(ticks_key, wanted), *map(main_l5_key, series), *map(build_key, (*series, *wanted))]
        for key in sorted(keys):
            locks.enter_context(resource_lock(settings.locks, key, "declare an origin"))
        found = [
            (symbol, day)
            for symbol in wanted
            for day in lake.days("ticks", symbol)
            if (start is None or day >= start) and (end is None or day <= end)
        ]
        if not found:
            raise FailedError("no ticks are here in that range", "`ghtrader data coverage` lists what is")
        manifests = [_manifest(lake, "ticks", *item) for item in found]
        _require_undecided(manifests, origin)
        built = 0
        for (symbol, day), ticks in zip(found, manifests, strict=True):
            for manifest in _made_of(lake, symbol, day, ticks):  # first: a kill in between leaves the ticks to be asked
                _write(lake, manifest, replace(manifest.details, origin=origin))
                built += 1
            assert isinstance(ticks.details, TickDetails)
            before = ticks.details.declared.before if ticks.details.declared else ticks.details.stated_origin
            note = replace(declared, before=before)
            _write(lake, ticks, replace(ticks.details, origin=origin, declared=note))
    return DeclaredDays(origin=origin, ticks=tuple(found), built=built)


def _manifest(lake: Lake, dataset: str, key: str, day: date) -> DayManifest:
    found = lake.manifest(dataset, key, day)
    assert found is not None, "listed a moment ago, under its lock"
    return found


def _require_undecided(manifests: Iterable[DayManifest], origin: TickOrigin) -> None:
    said = [one for one in manifests if not _undecided(one, origin)]
    if not said:
        return
    named = ", ".join(f"{one.key} {one.day}" for one in said[:3])
    more = f" and {len(said) - 3} more" if len(said) > 3 else ""
    raise RefusedError(
        f"{len(said)} days say where they come from ({words_of(origins_of(one.details.origin for one in said))}): "
        f"{named}{more}; nothing was changed",
        "leave them out with --symbol, --start and --end; a wrong day is deleted and downloaded again",
    )


def _undecided(manifest: DayManifest, origin: TickOrigin) -> bool:
    """Whether a person may say where a day comes from: nobody knows, or a person said, and it stays simulated."""
    stated = manifest.details.stated_origin
    if stated.kind == OriginKind.UNKNOWN:
        return True
    simulated = stated.kind == OriginKind.SIMULATED
    return manifest.ticks.declared is not None and (not simulated or origin.kind == OriginKind.SIMULATED)


def _made_of(lake: Lake, symbol: str, day: date, ticks: DayManifest) -> Iterator[DayManifest]:
    """Days of main_l5, features and labels that were built of these ticks."""
    main = lake.manifest("main_l5", variety_of(symbol).continuous_symbol, day)
    if main is not None and main.main_l5.contract == symbol and main.main_l5.raw_content_hash == ticks.content_hash:
        yield from _built_of(lake, main, day)
        yield main
    yield from _built_of(lake, ticks, day)


def _built_of(lake: Lake, source: DayManifest, day: date) -> Iterator[DayManifest]:
    for dataset in _BUILT:
        manifest = lake.manifest(dataset, source.key, day)
        if manifest is not None and manifest.built.source_hash(source.dataset) == source.content_hash:
            yield manifest


def _write(lake: Lake, manifest: DayManifest, details: DayDetails) -> None:
    """The same rows with another manifest."""
    day = date.fromisoformat(manifest.day)
    table = lake.read_day(manifest.dataset, manifest.key, day)
    lake.write_day(
        manifest.dataset, manifest.key, day, table, schema=table.schema, source=manifest.source,
        run_id=manifest.run_id, details=details,
    )  # fmt: skip
