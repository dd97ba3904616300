"""Lists every contract of a variety: from the service, from TqSdk's bundled list of old ones, and from the disk.

The service's list is kept with its time in `data/catalog/<variety>.json`, so that it answers offline too; its words win
over the bundled ones, and those over what a name alone says. What is here of each contract is `coverage`'s business.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import lzma
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ghtrader_base.errors import FailedError, IntegrityError, TimedOutError
from ghtrader_base.files import atomic_write_json, read_checked_json, with_checksum
from ghtrader_market.reference.symbols import parse_symbol
from ghtrader_market.reference.trading_calendar import TradingCalendar, last_known_finished_day
from ghtrader_market.reference.varieties import get_variety
from ghtrader_market.sources.base import ContractInfo, TickSource, life_of

if TYPE_CHECKING:
    from ghtrader_market.stores.lake.lake import Lake

_log = logging.getLogger(__name__)
FRESH_FOR = timedelta(hours=12)
"""A list younger than this is not asked for again, unless somebody says so."""
_OTHER_CLOCK = timedelta(days=20)
"""A service whose newest day is further from ours than any holiday explains lives by a clock of its own."""
_BEFORE_ALL, _AFTER_ALL = date(1990, 1, 1), date(2099, 12, 31)


@dataclass(frozen=True)
class Snapshot:
    """What the service said, and when.

    Attributes
    ----------
    contracts : tuple of ContractInfo
        By expiry.
    asked_at : datetime, optional
        By this machine's clock; None where the service was never asked as a whole.
    finished : date, optional
        Last trading day that was over at the service when it was last asked anything.
    finished_at : datetime, optional
        When that was, by this machine's clock.
    """

    contracts: tuple[ContractInfo, ...] = ()
    asked_at: datetime | None = None
    finished: date | None = None
    finished_at: datetime | None = None

    def is_fresh(self, now: datetime) -> bool:
        """Whether there is no need to ask again."""
        return self.asked_at is not None and abs(now - self.asked_at) < FRESH_FOR

    def last_finished(self, calendar: TradingCalendar, now: datetime) -> date:
        """Last trading day that is over: by this machine's clock, unless the service lives by another one."""
        by_clock = last_known_finished_day(calendar, now)
        if self.finished is None or self.finished_at is None:
            return by_clock
        if abs(self.finished - self.finished_at.date()) > _OTHER_CLOCK:
            return self.finished
        return max(self.finished, by_clock)


@dataclass(frozen=True)
class Known:
    """A contract and who told of it: `service`, `bundled` or `disk`."""

    info: ContractInfo
    origin: str


# ---- the service's list, as kept ----


def catalog_path(data: Path, variety: str) -> Path:
    """Where the list of a variety is kept."""
    return data / "catalog" / f"{variety}.json"


def load_snapshot(data: Path, variety: str) -> Snapshot:
    """The list as kept; an empty one where the service was never asked.

    Raises
    ------
    IntegrityError
        The file is there but garbled, or was edited.
    """
    path = catalog_path(data, variety)
    if not path.exists():
        return Snapshot()
    document, _ = read_checked_json(path)
    try:
        return Snapshot(
            tuple(_info_of(row) for row in document["contracts"]),
            _time(document.get("asked_at")),
            _day(document.get("finished")),
            _time(document.get("finished_at")),
        )
    except (KeyError, TypeError, ValueError) as exc:
        raise IntegrityError(f"{path} is no contract list: {exc}", "delete it; the service is asked again") from exc


def load_contracts(data: Path, variety: str) -> list[ContractInfo]:
    """Contracts the service told of so far, by expiry; empty where it was not asked yet."""
    return list(load_snapshot(data, variety).contracts)


def merge_contracts(
    data: Path, variety: str, found: Iterable[ContractInfo], finished: date | None = None, *, whole: bool = False
) -> list[ContractInfo]:
    """Add what a source just said to the list, newer words replacing older ones, and store it.

    Parameters
    ----------
    finished : date, optional
        Last trading day that is over at the service, where it was asked that too.
    whole : bool
        `found` is all the service has; a part of it leaves the list's age as it was.
    """
    before = load_snapshot(data, variety)
    merged = {info.symbol: info for info in before.contracts}
    for info in found:
        old = merged.get(info.symbol)
        merged[info.symbol] = replace(info, listed=old.listed) if old and info.listed is None else info
    contracts = sorted(merged.values(), key=lambda item: (item.expires, item.symbol))
    now = datetime.now(UTC)
    document = {
        "variety": variety,
        "asked_at": _text(now if whole else before.asked_at),
        "finished": _text(finished or before.finished),
        "finished_at": _text(now if finished else before.finished_at),
        "contracts": [_row_of(info) for info in contracts],
    }
    atomic_write_json(catalog_path(data, variety), with_checksum(document))
    return contracts


def contracts_living(data: Path, variety: str, start: date, end: date) -> list[str]:
    """Symbols of the list that can have traded in [start, end].

    Raises
    ------
    FailedError
        The list has none.
    """
    symbols = [item.symbol for item in load_contracts(data, variety) if item.lives_in(start, end)]
    if not symbols:
        raise FailedError(
            f"no contract of {variety} is known between {start} and {end}",
            f"materialize contracts first, or: ghtrader download-contract-range --var {variety} ...",
        )
    return symbols


def no_bars(lake: Lake, variety: str, days: Sequence[date]) -> FailedError:
    """What is so where no contract has a daily bar on any of these days."""
    span = f"on {days[0]}" if len(days) == 1 else f"between {days[0]} and {days[-1]}"
    known = lake.days("daily_bars", variety)
    if known and days[-1] < known[0]:
        return FailedError(
            f"no contract of {variety} has a daily bar {span}: the first one that is known is of {known[0]}",
            "choose days from there on; before the first listing there is nothing to download",
        )
    return FailedError(
        f"no contract of {variety} has a daily bar {span}: the source knows of no trade on these days",
        "choose days on which it traded and that are over at the source",
    )


def _info_of(row: dict[str, Any]) -> ContractInfo:
    return ContractInfo(row["symbol"], date.fromisoformat(row["expires"]), _day(row.get("listed")), row["expired"])


def _row_of(info: ContractInfo) -> dict[str, Any]:
    listed = info.listed.isoformat() if info.listed else None
    return {"symbol": info.symbol, "expires": info.expires.isoformat(), "listed": listed, "expired": info.expired}


def _day(text: str | None) -> date | None:
    return date.fromisoformat(text) if text else None


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _text(moment: date | datetime | None) -> str | None:
    return moment.isoformat() if moment else None


# ---- asking the service ----


def refresh(source: TickSource, lake: Lake, variety: str) -> Snapshot:
    """Ask the service for every contract of a variety, and for the first day of those that matter here.

    The service does not say when a contract was listed; its first daily bar does. It is asked for of contracts that
    trade now or have days in the lake, once each; of one that it gives no answer for, the next time.
    """
    data, finished = lake.root, source.finished_day(variety)
    contracts = merge_contracts(data, variety, source.contracts(variety, _BEFORE_ALL, _AFTER_ALL), finished, whole=True)
    here = set(lake.index.keys("ticks"))
    unknown = [info for info in contracts if info.listed is None and (info.expires >= finished or info.symbol in here)]
    listed = []
    for info in unknown:
        first = min(info.first_possible, finished)
        try:
            bars = source.daily_bars([info.symbol], first, min(info.expires, finished))
        except (TimedOutError, FailedError) as error:
            _log.warning("when %s was listed could not be had: %s", info.symbol, error.message)
            break  # each that is not answered takes minutes, and a day that is not known does no harm
        if bars.num_rows and (day := bars["trading_day"][0].as_py()) > first:
            listed.append(replace(info, listed=day))
    if listed:
        merge_contracts(data, variety, listed)
    return load_snapshot(data, variety)


# ---- all of them ----


@cache
def _bundled() -> dict[tuple[str, str], tuple[ContractInfo, ...]]:
    """TqSdk's own list of old futures by (exchange, product), read from its package without importing it."""
    spec = importlib.util.find_spec("tqsdk")
    path = Path(spec.origin).with_name("expired_quotes.json.lzma") if spec and spec.origin else None
    if path is None or not path.exists():
        return {}
    found: dict[tuple[str, str], list[ContractInfo]] = {}
    with lzma.open(path, "rt", encoding="utf-8") as file:
        quotes = json.load(file)
    for symbol, quote in quotes.items():
        if quote["ins_class"] == "FUTURE":
            # The last trading day's close, 15:00 in Shanghai.
            expires = datetime.fromtimestamp(quote["expire_datetime"] + 8 * 3600, UTC).date()
            found.setdefault((quote["exchange_id"], quote["product_id"]), []).append(
                ContractInfo(symbol, expires, None, True)
            )
    return {product: tuple(sorted(infos, key=lambda i: (i.expires, i.symbol))) for product, infos in found.items()}


def bundled_contracts(variety: str) -> tuple[ContractInfo, ...]:
    """Contracts of a variety in TqSdk's bundled list (those that expired before autumn 2020), by expiry."""
    product = get_variety(variety)
    return _bundled().get((product.exchange, product.product), ())


def symbols_here(lake: Lake, variety: str) -> list[str]:
    """Contracts of a variety that have a day of raw ticks in the lake."""
    product = get_variety(variety)
    prefix = f"{product.exchange}.{product.product}"
    return [symbol for symbol in lake.index.keys("ticks") if symbol.rstrip("0123456789") == prefix]


def all_contracts(lake: Lake, variety: str) -> list[Known]:
    """Every contract known of a variety, by expiry, each with its best-informed description."""
    product = get_variety(variety).product
    here = lake.index.summaries("ticks")
    found = {
        symbol: Known(life_of(symbol, date.fromisoformat(here[symbol].last_day)), "disk")
        for symbol in symbols_here(lake, variety)
    }
    found |= {info.symbol: Known(info, "bundled") for info in bundled_contracts(variety)}
    found |= {info.symbol: Known(info, "service") for info in load_contracts(lake.root, variety)}
    kept = [known for known in found.values() if parse_symbol(known.info.symbol).product == product]
    return sorted(kept, key=lambda known: (known.info.expires, known.info.symbol))
