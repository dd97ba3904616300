"""Reads the variety table: exchange, multiplier, sessions, and by contract and date price tick, fees and margin.

What a variety *is* lives in `varieties.toml`; this file only reads it and answers questions. Nothing here knows a
variety by name: a new one is a new table in the TOML file. When sessions happen on a day is `trading_calendar`'s
answer, what fees do to an account `accounting`'s.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from datetime import date
from functools import cache
from importlib import resources
from typing import Any

from ghtrader_base.errors import ConfigError, UsageError
from ghtrader_market.reference.symbols import continuous_symbol, parse_symbol

NS_PER_MINUTE = 60_000_000_000


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
        Its name in this project: ``cu``, ``au``, ``ag``, ``IF``.
    exchange, product : str
        As in the contract's symbol: ``SHFE.cu2502`` is exchange ``SHFE``, product ``cu``.
    name : str
        A name for people.
    multiplier : int
        Units a lot: notional = price x multiplier x volume.
    needs_close_today : bool
        True where today's position must be closed with CLOSETODAY (SHFE, INE).
    hours : tuple of Sessions
        Trading hours by date, ascending; see `sessions_on`.
    """

    key: str
    exchange: str
    product: str
    name: str
    multiplier: int
    needs_close_today: bool
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

    def _row(self, rows: tuple[_Row, ...], what: str, contract: str, day: date) -> _Row:
        delivery = self._delivery(contract)
        for row in reversed(rows):
            if row.first_contract <= delivery and row.valid_from <= day:
                return row
        raise UsageError(
            f"no {what} known for {contract} on {day}",
            f"the first {self.key} row starts on {min(r.valid_from for r in rows)}; add a row to varieties.toml",
        )

    def _delivery(self, contract: str) -> int:
        symbol = parse_symbol(contract)
        if (symbol.exchange, symbol.product) != (self.exchange, self.product):
            raise UsageError(
                f"{contract} is no contract of {self.key}", f"for example {self.exchange}.{self.product}2502"
            )
        if symbol.continuous:
            raise UsageError(
                f"{contract} is a continuous symbol: price tick, fees and margin belong to a contract",
                "pass the underlying contract of the day (each main_l5 row names it)",
            )
        return symbol.year % 100 * 100 + symbol.month


def _ns_of_day(text: str) -> int:
    hours, _, minutes = text.partition(":")
    return (int(hours) * 60 + int(minutes)) * NS_PER_MINUTE


def _rows(rows: list[dict[str, Any]], required: tuple[str, ...], optional: tuple[str, ...] = ()) -> tuple[_Row, ...]:
    found = []
    for row in rows:
        values = {k: float(v) for k, v in row.items() if k not in ("first_contract", "valid_from", "source")}
        if unknown := set(values) - {*required, *optional}:
            raise ValueError(f"unknown field {', '.join(sorted(unknown))}")
        if missing := set(required) - set(values):
            raise ValueError(f"missing field {', '.join(sorted(missing))}")
        found.append(
            _Row(
                first_contract=int(row.get("first_contract", 0)),
                valid_from=row.get("valid_from", date(1990, 1, 1)),
                values=tuple(values.items()),
                source=str(row["source"]),
            )
        )
    if not found:
        raise ValueError("an empty list of rows")
    return tuple(found)


def _hours(rows: list[dict[str, Any]]) -> tuple[Sessions, ...]:
    found = tuple(_sessions(row) for row in rows)
    dates = [sessions.valid_from for sessions in found]
    if not dates or dates != sorted(set(dates)):
        raise ValueError("hours must be in order of valid_from, one row a date")
    return found


def _sessions(row: dict[str, Any]) -> Sessions:
    night = tuple(_ns_of_day(t) for t in row["night"]) if "night" in row else None
    day = tuple((_ns_of_day(start), _ns_of_day(end)) for start, end in row["day"])
    bounds = [t for session in day for t in session]
    if bounds != sorted(set(bounds)) or (night and not night[0] < night[1]):
        raise ValueError("sessions overlap or run backwards")
    return Sessions(row["valid_from"], night, day, str(row["source"]))  # type: ignore[arg-type]


def parse_varieties(text: str) -> dict[str, Variety]:
    """Read a variety table from TOML text.

    Raises
    ------
    ConfigError
        The text is no TOML, a table lacks a field, or a field makes no sense.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"variety table: {error}", "correct the TOML") from error
    fee_fields = tuple(field.name for field in fields(FeeRates))
    varieties = {}
    for key, row in table.items():
        try:
            varieties[key] = Variety(
                key=key,
                exchange=row["exchange"],
                product=row["product"],
                name=row["name"],
                multiplier=int(row["multiplier"]),
                needs_close_today=bool(row["needs_close_today"]),
                hours=_hours(row["hours"]),
                _price_ticks=_rows(row["price_ticks"], ("value",)),
                _fees=_rows(row["fees"], (), fee_fields),
                _margins=_rows(row["margins"], ("ratio",)),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"variety table: [{key}] is not usable: {error}", "compare it with [cu]") from error
    return varieties


@cache
def _table() -> dict[str, Variety]:
    return parse_varieties(resources.files("ghtrader_market.reference").joinpath("varieties.toml").read_text("utf-8"))


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
        raise UsageError(f"unknown variety {key!r}", "known varieties: " + ", ".join(_table()))
    return found


def variety_of(symbol: str) -> Variety:
    """The variety a contract (``SHFE.cu2502``) or continuous symbol (``KQ.m@SHFE.cu``) belongs to."""
    parsed = parse_symbol(symbol)
    for variety in _table().values():
        if (variety.exchange, variety.product) == (parsed.exchange, parsed.product):
            return variety
    raise UsageError(f"no variety in the table for symbol {symbol}", "known varieties: " + ", ".join(_table()))
