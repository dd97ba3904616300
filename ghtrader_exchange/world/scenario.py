"""Defines and parses a scenario: the varieties, days, world and seed that a simulated exchange plays.

A scenario decides everything the exchange will ever print: two processes with equal scenarios print equal ticks.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from ghtrader_base.errors import ConfigError
from ghtrader_base.files import atomic_write_text, content_hash
from ghtrader_exchange.world.realistic.market_fit import (
    REALISTIC,
    MarketFit,
    RealisticWorld,
    fit_from_table,
    packaged_fit,
    toml_lines,
)
from ghtrader_exchange.world.worlds import MAX_STRENGTH, World, get_world
from ghtrader_market.reference.tick_origin import OriginKind, TickOrigin
from ghtrader_market.reference.trading_calendar import bundled_calendar

SERVICE_NAME = "ghtrader exchange"
"""What a simulated exchange calls itself; not its address, which differs from start to start."""
_HASH_LENGTH = 16
PLAYABLE = ("cu", "au", "ag")
"""Varieties the exchange knows a price level and an open interest for."""
MIN_SNAPSHOT_SECONDS, MAX_SNAPSHOT_SECONDS = 0.5, 300.0
MAX_CONTRACTS = 8
MAX_LIVE_DAYS = 10


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One world over some trading days.

    The default days begin four trading days ahead of a roll: the fifth day has another main contract. A holiday lies
    between them, so that one day has no night session.

    Attributes
    ----------
    varieties : tuple of str
        Variety keys out of ``cu``, ``au``, ``ag``.
    start, end : date
        First and last trading day of the history.
    world : str
        ``none`` (nobody can predict), ``driver`` (a hidden driver skews the sign of price moves), ``sequence`` (the
        order of trades tells where the price drifts) or ``realistic`` (fitted to a recorded day).
    strength : float
        How much of the hidden truth reaches the price, 0 to 2.2. It has no meaning in ``none``.
    seed : int
        Every random number is keyed by it; 0 to 2**63 - 1.
    snapshot_seconds : float
        Market time from one snapshot to the next. A snapshot is always half an engine second, so 3.0 gives days of a
        sixth of the ticks with the same dependence from tick to tick; 0.5 is the market's own pace.
    contracts : int
        Contracts listed of each variety, from the first day's main contract on. A scenario with more rolls lists all
        that become main.
    live_days : int
        Trading days after `end` that the clock can pass through, one into the next; the clock begins at the first.
    fit : MarketFit, optional
        What `realistic` plays, by default the packaged fit to CFFEX.IF2101; none in the other worlds.
    """

    varieties: tuple[str, ...] = ("cu",)
    start: date = date(2025, 3, 31)
    end: date = date(2025, 4, 15)
    world: str = "driver"
    strength: float = 1.0
    seed: int = 1
    snapshot_seconds: float = 3.0
    contracts: int = 3
    live_days: int = 1
    fit: MarketFit | None = None

    def __post_init__(self) -> None:
        if self.world == REALISTIC and self.fit is None:
            object.__setattr__(self, "fit", packaged_fit())
        _check(self)

    @property
    def parameters(self) -> World | RealisticWorld:
        """The world with its strength set."""
        if self.fit is not None:
            return RealisticWorld(self.fit, self.strength)
        return get_world(self.world, self.strength)

    @property
    def digest(self) -> str:
        """Content hash: equal for scenarios that print the same."""
        table = _as_table(self)
        return content_hash(table if self.fit is None else {**table, "fit": toml_lines(self.fit)})

    @property
    def origin(self) -> TickOrigin:
        """What ticks of this scenario say of themselves.

        Days of two scenarios that differ in their range or their varieties alone are of one market.
        """
        decides = {"snapshot_seconds": self.snapshot_seconds, "fit": None if self.fit is None else toml_lines(self.fit)}
        strength = {} if self.world == "none" else {"strength": self.strength}
        return TickOrigin(
            kind=OriginKind.SIMULATED,
            service=SERVICE_NAME,
            world=self.world,
            seed=self.seed,
            scenario=content_hash({**decides, **strength})[:_HASH_LENGTH],
        )

    def with_changes(self, **changes: Any) -> Scenario:
        """A copy with some fields changed, checked like a new one."""
        return replace(self, **changes)

    def to_toml(self) -> str:
        """The scenario as TOML text that `parse_scenario` reads back to an equal one."""
        lines = "".join(f"{name} = {_toml_value(value)}\n" for name, value in _as_table(self).items())
        return lines if self.fit is None else lines + toml_lines(self.fit)

    def write(self, path: Path) -> None:
        """Write `to_toml` to `path`, atomically."""
        atomic_write_text(path, self.to_toml())

    @classmethod
    def from_toml(cls, path: Path) -> Scenario:
        """Read a scenario file.

        Raises
        ------
        ConfigError
            The file cannot be read, is no TOML, has an unknown field or a value out of its range.
        """
        try:
            text = Path(path).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read the scenario {path}: {error}", "name a readable TOML file") from error
        return parse_scenario(text)


def parse_scenario(text: str) -> Scenario:
    """Read a scenario from TOML text; absent fields have their defaults.

    Raises
    ------
    ConfigError
        The text is no TOML, has an unknown field or a value out of its range.
    """
    try:
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"the scenario is no TOML: {error}", "correct the file") from error
    known = [field.name for field in fields(Scenario)]
    if unknown := sorted(set(table) - set(known)):
        raise ConfigError(f"the scenario has unknown fields: {', '.join(unknown)}", f"known: {', '.join(known)}")
    if isinstance(table.get("varieties"), list):
        table["varieties"] = tuple(table["varieties"])
    if "fit" in table:
        table["fit"] = fit_from_table(table["fit"])
    for name in ("strength", "snapshot_seconds"):
        if type(table.get(name)) is int:
            table[name] = float(table[name])
    return Scenario(**table)


def _require(condition: bool, message: str, hint: str) -> None:
    if not condition:
        raise ConfigError(f"scenario: {message}", hint)


def _check(s: Scenario) -> None:
    _require(
        isinstance(s.varieties, tuple) and bool(s.varieties) and all(type(v) is str for v in s.varieties),
        f"varieties = {s.varieties!r} is no list of variety keys",
        'write for example varieties = ["cu"]',
    )
    unknown = [v for v in s.varieties if v not in PLAYABLE]
    _require(not unknown, f"cannot play {', '.join(unknown)}", f"playable: {', '.join(PLAYABLE)}")
    _require(len(set(s.varieties)) == len(s.varieties), "a variety is named twice", "name each once")
    _check_days(s)
    ranges = {"strength": (0.0, MAX_STRENGTH), "snapshot_seconds": (MIN_SNAPSHOT_SECONDS, MAX_SNAPSHOT_SECONDS)}
    for name, (low, high) in ranges.items():
        value = getattr(s, name)
        good = type(value) is float and low <= value <= high
        _require(good, f"{name} = {value!r} is no number from {low} to {high}", f"choose {name} in that range")
    whole = {"seed": (0, 2**63 - 1), "contracts": (2, MAX_CONTRACTS), "live_days": (1, MAX_LIVE_DAYS)}
    for name, (low, high) in whole.items():
        value = getattr(s, name)
        good = type(value) is int and low <= value <= high
        _require(good, f"{name} = {value!r} is no whole number from {low} to {high}", f"choose {name} in that range")
    _require(s.fit is None or isinstance(s.fit, MarketFit), "fit is no fit", "make it with: exchange fit FILE")
    _require(
        (s.fit is None) == (s.world != REALISTIC),
        f"the world {s.world!r} takes no [fit]",
        'remove [fit], or write world = "realistic"',
    )
    if s.fit is None:
        get_world(s.world, s.strength)
    calendar = bundled_calendar()
    _require(
        len(calendar.known_days(s.end + timedelta(days=1), calendar.last)) >= s.live_days,
        f"the holiday list ends on {calendar.last}, before the {s.live_days} live days after {s.end} do",
        "choose an earlier end, or fewer live_days",
    )


def _check_days(s: Scenario) -> None:
    for name in ("start", "end"):
        value = getattr(s, name)
        _require(type(value) is date, f"{name} = {value!r} is no date", "write it as YYYY-MM-DD, without quotes")
    _require(s.start <= s.end, f"start {s.start} is after end {s.end}", "swap them")
    calendar = bundled_calendar()
    for day in (s.start, s.end):
        _require(
            calendar.first < day < calendar.last and calendar.is_trading_day(day),
            f"{day} is not a trading day",
            f"nearest: {calendar.previous_day(day)} and {calendar.next_day(day)}"
            if calendar.first < day < calendar.last
            else f"the holiday list speaks for {calendar.first} to {calendar.last}",
        )


def _as_table(s: Scenario) -> dict[str, Any]:
    """Every field but the fit, which only one world has, as plain values."""
    table = {field.name: getattr(s, field.name) for field in fields(s) if field.name != "fit"}
    table["varieties"] = list(s.varieties)
    table["start"], table["end"] = str(s.start), str(s.end)
    return table


def _toml_value(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(f'"{v}"' for v in value) + "]"
    if isinstance(value, str):
        # Dates are TOML's own type; names carry nothing that needs escaping (they are checked).
        return value if value[:1].isdigit() else f'"{value}"'
    return repr(value)
