"""Audits what is remembered of days: declared contracts, days without ticks, skipped days."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import date
from functools import partial
from pathlib import Path
from typing import TypeVar

from ghtrader_base.errors import GhtraderError, UsageError
from ghtrader_market.audit.report import Section
from ghtrader_market.reference.varieties import get_variety, variety_of
from ghtrader_market.stores.lake.declared_days import declared_path, load_declared, undeclared
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_market.stores.lake.manifests import PARTITION_NAME
from ghtrader_market.stores.lake.missing_days import SKIPPED_NAME, no_data_days, no_data_path, skipped_days

_LEDGERS_OF = ("ticks", "ticks_l1")
_BARS = "daily_bars"
T = TypeVar("T")


def audit_declared(lake: Lake, only: Collection[str] | None = None) -> Section:
    """Declared contracts: the file as it was written, and no day whose ticks are of others."""
    section = Section(name="declared")
    for path in sorted(declared_path(lake.root, "x").parent.glob("[!.]*")):
        name, variety = path.relative_to(lake.root), path.stem
        if only is not None and variety not in only:
            continue
        section.looked_at += 1
        try:
            get_variety(variety)
            declared = load_declared(lake.root, variety)
        except UsageError:
            section.found("extra_file", name, "it is that of no variety")
            continue
        except (GhtraderError, OSError) as error:
            section.found("declared_wrong", name, str(error).replace(f"{lake.root}/", ""), key=variety)
            continue
        for day, why in undeclared(lake, variety, declared).items():
            section.found("declared_wrong", name, why, key=variety, day=str(day))
    return section


def audit_ledgers(lake: Lake, today: date, only: Collection[str] | None = None) -> Section:
    """Lists of days without ticks and of skipped days: they parse, and no list calls a day empty that is not.

    Days after `today` are not over.
    """
    section = Section(name="ledgers")
    traded: dict[tuple[str, date], set[str]] = {}

    def has_traded(symbol: str, day: date) -> bool:
        variety = variety_of(symbol).key
        if (variety, day) not in traded:
            traded[variety, day] = _traded(lake, variety, day)
        return symbol in traded[variety, day]

    for dataset in _LEDGERS_OF:
        prefix = f"{PARTITION_NAME[dataset]}="
        for folder in sorted((lake.root / dataset).glob(f"{prefix}*")):
            symbol = folder.name.removeprefix(prefix)
            try:
                variety = variety_of(symbol).key
            except UsageError:
                continue  # named among the days
            if only is not None and variety not in only:
                continue
            _look(section, lake, folder / SKIPPED_NAME, symbol, partial(skipped_days, lake, symbol, dataset))
            path = no_data_path(lake, symbol, dataset)
            empty = _look(section, lake, path, symbol, partial(no_data_days, lake, symbol, dataset))
            for day in sorted(empty or ()):
                why = ""
                if lake.has_day(dataset, symbol, day):
                    why = "the day is here"
                elif day > today:
                    why = f"it is {today}"
                elif has_traded(symbol, day):
                    why = "its daily bar shows that it traded"
                if why:
                    section.found("no_data_wrong", path.relative_to(lake.root), why, key=symbol, day=str(day))
    return section


def _look(section: Section, lake: Lake, path: Path, symbol: str, read: Callable[[], T]) -> T | None:
    """A ledger as it reads; None where there is none, or where it does not."""
    if not path.exists():
        return None
    section.looked_at += 1
    try:
        return read()
    except (GhtraderError, OSError) as error:
        detail = str(error).replace(f"{lake.root}/", "")
        section.found("ledger_broken", path.relative_to(lake.root), detail, key=symbol)
        return None


def _traded(lake: Lake, variety: str, day: date) -> set[str]:
    """Contracts that traded by the stored bars; none where there are no bars, or none that can be read."""
    try:
        if not lake.has_day(_BARS, variety, day):
            return set()
        bars = lake.read_day(_BARS, variety, day, ["symbol", "volume"]).to_pylist()
    except (GhtraderError, OSError):
        return set()
    return {bar["symbol"] for bar in bars if bar["volume"]}
