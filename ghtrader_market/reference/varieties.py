"""Reads the variety table: exchange, multiplier, sessions, and by contract and date price tick, fees and margin.

What a variety *is* lives in `varieties.toml`; this file only reads it and answers questions. Nothing here knows a
variety by name: a new one is a new table in the TOML file. When sessions happen on a day is `trading_calendar`'s
answer, what fees do to an account `accounting`'s, which day a holding rule means `holding_limits`'.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Collection
from dataclasses import dataclass, field, fields, replace
from datetime import date
from functools import cache
from importlib import resources
from typing import Any

from ghtrader_base.errors import ConfigError, UsageError
from ghtrader_market.reference.closing_rules import CLOSING_RULES, ClosingRule
from ghtrader_market.reference.symbols import continuous_symbol, parse_symbol

NS_PER_MINUTE = 60_000_000_000
SHARED = "shared"
"""The table of what varieties have in common; no variety."""
CLOSE_TODAY = tuple(exchange for exchange, rule in CLOSING_RULES.items() if rule == ClosingRule.BY_OFFSET)
"""Exchanges where today's position is closed with CLOSETODAY."""


@dataclass(frozen=True, kw_only=True)
class FeeRates:
    """What one fill costs. Ratios are of notional, lots are CNY a lot; both parts add up."""

    open_ratio: float = 0.0
    open_lot: float = 0.0
    close_ratio: float = 0.0
    close_lot: float = 0.0
    close_today_ratio: float = 0.0
    close_today_lot: float = 0.0


@dataclass(frozen=True)
class Sessions:
    """Trading sessions of the trading days from one date on, in ns of the day in Asia/Shanghai, each [start, end).

    The night session counts from midnight of the *previous* trading day and may end beyond 24 hours.
    """

    valid_from: date
    night: tuple[int, int] | None
    day: tuple[tuple[int, int], ...]
    source: str


@dataclass(frozen=True)
class HoldingRule:
    """Until when a natural person may hold a contract.

    Attributes
    ----------
    days_before : int or None
        Trading days before the last trading day of the month before the delivery month; None where nothing ends before
        the contract does.
    source : str
        Whose rule it is.
    """

    days_before: int | None
    source: str


@dataclass(frozen=True)
class _Row:
    """One dated row of the table; `values` holds what the row is about."""

    first_contract: int
    valid_from: date
    values: tuple[tuple[str, float], ...]
    source: str


@dataclass(frozen=True, kw_only=True)
class Variety:
    """One traded product.

    Attributes
    ----------
    key : str
        Its name in this project, the exchange's own: ``cu``, ``au``, ``SR``, ``IF``.
    exchange, product : str
        As in the contract's symbol: ``SHFE.cu2502`` is exchange ``SHFE``, product ``cu``.
    name : str
        A name for people.
    multiplier : int
        Units a lot: notional = price x multiplier x volume.
    source : str
        Where the multiplier comes from.
    needs_close_today : bool
        True where today's position must be closed with CLOSETODAY (SHFE, INE).
    holding : HoldingRule
        Until when a natural person may hold a contract; the day is `holding_limits.last_holding_day`.
    hours : tuple of Sessions
        Trading hours by date, ascending; see `sessions_on`.
    """

    key: str
    exchange: str
    product: str
    name: str
    multiplier: int
    source: str
    needs_close_today: bool
    holding: HoldingRule
    hours: tuple[Sessions, ...]
    _price_ticks: tuple[_Row, ...]
    _fees: tuple[_Row, ...]
    _margins: tuple[_Row, ...]

    @property
    def continuous_symbol(self) -> str:
        """Name of its main series: ``KQ.m@SHFE.cu``."""
        return continuous_symbol(self.exchange, self.product)

    @property
    def sessions(self) -> Sessions:
        """Those in force now: the last ones the table knows."""
        return self.hours[-1]

    def sessions_on(self, day: date) -> Sessions:
        """Those of an ordinary trading day `day`; the first known ones before the table begins."""
        for sessions in reversed(self.hours):
            if sessions.valid_from <= day:
                return sessions
        return self.hours[0]

    def price_tick(self, contract: str, day: date) -> float:
        """Smallest price step of `contract` on `day`, in CNY; raises UsageError for a symbol of another variety."""
        return dict(self._row(self._price_ticks, "price tick", contract, day).values)["value"]

    def fees(self, contract: str, day: date) -> FeeRates:
        """Fees of `contract` on `day`; raises UsageError where the table reaches not that far back."""
        return FeeRates(**dict(self._row(self._fees, "fees", contract, day).values))

    def margin_ratio(self, contract: str, day: date) -> float:
        """Margin as a part of notional."""
        return dict(self._row(self._margins, "margin", contract, day).values)["ratio"]

    def fee_source(self, contract: str, day: date) -> str:
        """Where the fee row in force comes from: reports print it beside net PnL."""
        return self._row(self._fees, "fees", contract, day).source

    def delivery(self, contract: str, day: date) -> tuple[int, int]:
        """Delivery (year, month) of a contract of this variety that is spoken of on `day`.

        Raises
        ------
        UsageError
            It is a contract of another variety, no contract, or its year is not certain on `day`.
        """
        symbol = parse_symbol(contract)
        if (symbol.exchange, symbol.product) != (self.exchange, self.product):
            raise UsageError(
                f"{contract} is no contract of {self.key}", f"its contracts are {self.exchange}.{self.product}..."
            )
        if symbol.continuous:
            raise UsageError(
                f"{contract} is a continuous symbol: price tick, fees and margin belong to a contract",
                "pass the underlying contract of the day (each main_l5 row names it)",
            )
        return symbol.delivered(day)

    def _row(self, rows: tuple[_Row, ...], what: str, contract: str, day: date) -> _Row:
        year, month = self.delivery(contract, day)
        delivery = year % 100 * 100 + month
        for row in reversed(rows):
            if row.first_contract <= delivery and row.valid_from <= day:
                return row
        raise UsageError(
            f"no {what} known for {contract} on {day}",
            f"the first {self.key} row starts on {min(r.valid_from for r in rows)}; add a row to varieties.toml",
        )


# ---- reading the table ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _NightPause:
    """Trading days [first, again) had no night session anywhere."""

    first: date
    again: date
    source: str


@dataclass(frozen=True)
class _Shared:
    """What `[shared]` holds: day sessions by name, pauses of all nights, holding rules by name."""

    days: dict[str, tuple[tuple[int, int], ...]] = field(default_factory=dict)
    pauses: tuple[_NightPause, ...] = ()
    holding: dict[str, HoldingRule] = field(default_factory=dict)


def _fields(row: Any, what: str, required: Collection[str], optional: Collection[str] = ()) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise ValueError(f"{what} is {row!r} and no table")
    if missing := [name for name in required if name not in row]:
        raise ValueError(f"{what}: missing field {', '.join(missing)}")
    if unknown := [name for name in row if name not in required and name not in optional]:
        raise ValueError(f"{what}: unknown field {', '.join(unknown)}")
    return row


def _text(row: dict[str, Any], name: str) -> str:
    if not isinstance(row[name], str) or not row[name].strip():
        raise ValueError(f"{name} is {row[name]!r} and no text")
    return str(row[name])


def _whole(row: dict[str, Any], name: str, least: int) -> int:
    value = row[name]
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} is {value!r} and no whole number from {least} on")
    return value


def _date(row: dict[str, Any], name: str) -> date:
    if type(row[name]) is not date:
        raise ValueError(f"{name} is {row[name]!r} and no date, as 2024-06-03")
    return row[name]  # type: ignore[no-any-return]


def _list(row: dict[str, Any], name: str) -> list[Any]:
    if not isinstance(row[name], list) or not row[name]:
        raise ValueError(f"{name}: a list of at least one row is needed")
    return row[name]  # type: ignore[no-any-return]


def _tables(table: dict[str, Any], name: str) -> dict[str, Any]:
    found = table.get(name, {})
    if not isinstance(found, dict):
        raise ValueError(f"{name} is {found!r} and no table")
    return found


def _named(table: dict[str, Any], name: str, what: str) -> Any:
    if name not in table:
        raise ValueError(f"unknown {what} {name!r}; under [{SHARED}] there are: {', '.join(table) or 'none'}")
    return table[name]


def _ns_of_day(text: Any) -> int:
    hours, colon, minutes = text.partition(":") if isinstance(text, str) else ("", "", "")
    whole = colon and len(minutes) == 2 and (hours + minutes).isascii() and (hours + minutes).isdecimal()
    if not whole or not hours or int(hours) > 32 or int(minutes) > 59:
        raise ValueError(f"{text!r} is no time of day, as 09:00, or 25:00 for 01:00 of the day after")
    return (int(hours) * 60 + int(minutes)) * NS_PER_MINUTE


def _session(pair: Any) -> tuple[int, int]:
    if not isinstance(pair, list) or len(pair) != 2:
        raise ValueError(f"{pair!r} is no [start, end)")
    return _ns_of_day(pair[0]), _ns_of_day(pair[1])


def _day_sessions(pairs: Any) -> tuple[tuple[int, int], ...]:
    sessions = tuple(_session(pair) for pair in pairs) if isinstance(pairs, list) else ()
    bounds = [t for session in sessions for t in session]
    if not bounds or bounds != sorted(set(bounds)):
        raise ValueError(f"sessions overlap, run backwards or are none: {pairs!r}")
    return sessions


def _shared(table: Any) -> _Shared:
    found = _fields(table, SHARED, (), ("day", "night_pauses", "holding"))
    days = {name: _day_sessions(pairs) for name, pairs in _tables(found, "day").items()}
    pauses: list[_NightPause] = []
    for row in _list(found, "night_pauses") if "night_pauses" in found else []:
        _fields(row, "night_pauses", ("first", "again", "source"))
        pause = _NightPause(_date(row, "first"), _date(row, "again"), _text(row, "source"))
        if pause.first >= pause.again or (pauses and pauses[-1].again > pause.first):
            raise ValueError("night_pauses must end after they begin, in order, without overlap")
        pauses.append(pause)
    holding = {}
    for name, row in _tables(found, "holding").items():
        _fields(row, f"holding.{name}", ("source",), ("days_before",))
        before = _whole(row, "days_before", 0) if "days_before" in row else None
        holding[name] = HoldingRule(before, _text(row, "source"))
    return _Shared(days, tuple(pauses), holding)


def _rows(
    table: dict[str, Any], what: str, required: tuple[str, ...], optional: tuple[str, ...] = ()
) -> tuple[_Row, ...]:
    found: list[_Row] = []
    for row in _list(table, what):
        _fields(row, what, (*required, "source"), (*optional, "first_contract", "valid_from"))
        values = tuple((name, _number(row, name, name in required)) for name in (*required, *optional) if name in row)
        first = _whole(row, "first_contract", 1) if "first_contract" in row else 0
        valid_from = _date(row, "valid_from") if "valid_from" in row else date(1990, 1, 1)
        if first and not 1 <= first % 100 <= 12 or first > 9912:
            raise ValueError(f"{what}: first_contract is {first} and no delivery YYMM")
        if not values:
            raise ValueError(f"{what}: a row without a figure; one of {', '.join(optional)}")
        if found and (valid_from, first) == (found[-1].valid_from, found[-1].first_contract):
            raise ValueError(f"{what}: two rows begin with the same day and contract")
        if found and valid_from < found[-1].valid_from:
            raise ValueError(f"{what} must be in order of valid_from: the last row that matches wins")
        found.append(_Row(first, valid_from, values, _text(row, "source")))
    return tuple(found)


def _number(row: dict[str, Any], name: str, positive: bool) -> float:
    value = row[name]
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise ValueError(f"{name} is {value!r} and no number")
    if value < 0 or (positive and value == 0):
        raise ValueError(f"{name} is {value!r}: it must be {'above 0' if positive else '0 or more'}")
    return float(value)


def _hours(table: dict[str, Any], shared: _Shared) -> tuple[Sessions, ...]:
    found = [_sessions(row, shared) for row in _list(table, "hours")]
    dates = [sessions.valid_from for sessions in found]
    if dates != sorted(set(dates)):
        raise ValueError("hours must be in order of valid_from, one row a date")
    for pause in shared.pauses:
        found = _without_nights(found, pause)
    return tuple(found)


def _without_nights(hours: list[Sessions], pause: _NightPause) -> list[Sessions]:
    """The hours with the nights of a pause left out; as they are where there were none anyway."""
    before = [sessions for sessions in hours if sessions.valid_from <= pause.first]
    within = [sessions for sessions in hours if pause.first < sessions.valid_from < pause.again]
    if not any(sessions.night for sessions in (*before[-1:], *within)):
        return hours
    paused = [
        replace(sessions, night=None, valid_from=max(sessions.valid_from, pause.first), source=pause.source)
        for sessions in (*before[-1:], *within)
    ]
    again = replace((*before, *within)[-1], valid_from=pause.again, source=pause.source)
    after = [sessions for sessions in hours if sessions.valid_from >= pause.again]
    resumed = [] if after and after[0].valid_from == pause.again else [again]
    earlier = [sessions for sessions in before if sessions.valid_from < pause.first]
    return [*earlier, *paused, *resumed, *after]


def _sessions(row: Any, shared: _Shared) -> Sessions:
    _fields(row, "hours", ("valid_from", "day", "source"), ("night",))
    named = isinstance(row["day"], str)
    day = _named(shared.days, row["day"], "day sessions") if named else _day_sessions(row["day"])
    night = _session(row["night"]) if "night" in row else None
    if night and not night[0] < night[1]:
        raise ValueError("the night session runs backwards")
    return Sessions(_date(row, "valid_from"), night, day, _text(row, "source"))


_COLUMNS = (
    "name", "exchange", "product", "multiplier", "source", "needs_close_today", "holding", "hours", "price_ticks",
    "margins", "fees",
)  # fmt: skip


def _variety(key: str, row: Any, shared: _Shared) -> Variety:
    _fields(row, "it", _COLUMNS)
    exchange, product = _text(row, "exchange"), _text(row, "product")
    try:
        parse_symbol(continuous_symbol(exchange, product))
    except UsageError as error:
        raise ValueError(f"exchange {exchange!r} with product {product!r}: {error.message}") from error
    close_today = row["needs_close_today"]
    if not isinstance(close_today, bool) or close_today != (exchange in CLOSE_TODAY):
        where = " and ".join(CLOSE_TODAY)
        raise ValueError(f"needs_close_today is {close_today!r}: it is true at {where}, false elsewhere")
    margins = _rows(row, "margins", ("ratio",))
    if any(value >= 1 for margin in margins for _, value in margin.values):
        raise ValueError("a margin is a part of notional, below 1")
    return Variety(
        key=key,
        exchange=exchange,
        product=product,
        name=_text(row, "name"),
        multiplier=_whole(row, "multiplier", 1),
        source=_text(row, "source"),
        needs_close_today=close_today,
        holding=_named(shared.holding, _text(row, "holding"), "holding rule"),
        hours=_hours(row, shared),
        _price_ticks=_rows(row, "price_ticks", ("value",)),
        _fees=_rows(row, "fees", (), tuple(column.name for column in fields(FeeRates))),
        _margins=margins,
    )


def parse_varieties(text: str) -> dict[str, Variety]:
    """Read a variety table from TOML text.

    Raises
    ------
    ConfigError
        The text is no TOML, a table lacks a field, or a field makes no sense; the sentence names table and field.
    """
    try:
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"variety table: {error}", "correct the TOML") from error
    try:
        shared = _shared(table.pop(SHARED, {}))
    except ValueError as error:
        hint = "compare it with the one of this version"
        raise ConfigError(f"variety table: [{SHARED}] is not usable: {error}", hint) from error
    varieties: dict[str, Variety] = {}
    for key, row in table.items():
        try:
            variety = _variety(key, row, shared)
            for other in varieties.values():
                if key.lower() == other.key.lower():  # keys name files and settings, where case may not count
                    raise ValueError(f"its name differs from [{other.key}] in case alone")
                if (variety.exchange, variety.product) == (other.exchange, other.product):
                    raise ValueError(f"{variety.exchange}.{variety.product} is [{other.key}] already")
        except ValueError as error:
            raise ConfigError(f"variety table: [{key}] is not usable: {error}", "compare it with [cu]") from error
        varieties[key] = variety
    return varieties


@cache
def _table() -> dict[str, Variety]:
    return parse_varieties(resources.files("ghtrader_market.reference").joinpath("varieties.toml").read_text("utf-8"))


@cache
def _by_product() -> dict[tuple[str, str], Variety]:
    return {(variety.exchange, variety.product): variety for variety in _table().values()}


def all_varieties() -> tuple[Variety, ...]:
    """Every variety of the table, in its order."""
    return tuple(_table().values())


def get_variety(key: str) -> Variety:
    """The variety called `key`; UsageError lists the known ones.

    Examples
    --------
    >>> get_variety("cu").multiplier
    5
    """
    found = _table().get(key)
    if found is None:
        raise UsageError(f"unknown variety {key!r}", f"known varieties: {_known()}")
    return found


def variety_of(symbol: str) -> Variety:
    """The variety a contract (``SHFE.cu2502``) or a main series (``KQ.m@SHFE.cu``) belongs to.

    Raises
    ------
    UsageError
        It is no symbol, an index (which nobody can trade, and which is not kept), or of no variety of the table.
    """
    parsed = parse_symbol(symbol)
    if parsed.index:
        main = continuous_symbol(parsed.exchange, parsed.product)
        raise UsageError(f"{symbol} is an index: it is not traded, and not kept here", f"name a contract, or {main}")
    found = _by_product().get((parsed.exchange, parsed.product))
    if found is None:
        raise UsageError(f"no variety in the table for symbol {symbol}", f"known varieties: {_known()}")
    return found


def _known() -> str:
    """Keys of the table by exchange: `SHFE cu, au, ag; CFFEX IF`."""
    by_exchange: dict[str, list[str]] = {}
    for variety in _table().values():
        by_exchange.setdefault(variety.exchange, []).append(variety.key)
    return "; ".join(f"{exchange} {', '.join(keys)}" for exchange, keys in by_exchange.items())
