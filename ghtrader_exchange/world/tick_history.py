"""Renders a scenario's tapes in market terms: which contract printed what, when, in CNY. Days are made when asked for.

A day's tape does not depend on other days' tapes: prices come from the prefix sum of the efficient price's net moves,
which needs their jump lists alone.
"""

from __future__ import annotations

import io
import threading
import zipfile
from collections import OrderedDict
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path

import numpy as np

from ghtrader_base.errors import UsageError
from ghtrader_base.files import atomic_write_bytes
from ghtrader_exchange.world import day_simulation
from ghtrader_exchange.world.contract_listing import Listing, live_days
from ghtrader_exchange.world.day_simulation import DayPath
from ghtrader_exchange.world.instruments import Instrument, list_instruments
from ghtrader_exchange.world.order_book_kernel import TRADE, Tape
from ghtrader_exchange.world.realistic.day_playing import RealisticPath
from ghtrader_exchange.world.scenario import Scenario
from ghtrader_market.reference.tick_schema import LEVELS
from ghtrader_market.reference.trading_calendar import TradingCalendar, bundled_calendar
from ghtrader_market.reference.varieties import get_variety

GAP_TICKS = 25.0
"""Standard deviation of the overnight gap."""
LEVEL_BAND = 0.25
"""Beyond this part of the starting price the overnight gaps pull back; a scenario of a few weeks never gets there."""
MEMORY_BYTES = 256 << 20


@dataclass(frozen=True, eq=False)
class Trades:
    """Every trade of a contract-day, in order.

    row : int32[m], snapshot during which it happened. price : float64[m], CNY. volume : int64[m], lots.
    side : int32[m], 0 where the buyer was the aggressor, 1 where the seller was.
    """

    row: np.ndarray
    price: np.ndarray
    volume: np.ndarray
    side: np.ndarray


@dataclass(frozen=True, eq=False)
class ContractDay:
    """One contract's ticks of one trading day; arrays are read-only and shared.

    datetime_ns : int64[n], UTC epoch ns. values : the columns of `tick_schema.VALUE_COLUMNS`, prices and
    amounts float64[n] in CNY, counts int64[n]. trades : what those counts are made of.
    """

    symbol: str
    day: date
    datetime_ns: np.ndarray
    values: dict[str, np.ndarray]
    trades: Trades


@dataclass(frozen=True, kw_only=True)
class DailyBar:
    """One contract's bar of a trading day; prices in CNY.

    open is the first printed last price, settlement the day's mean price on the price grid.
    """

    day: date
    open: float
    high: float
    low: float
    close: float
    volume: int
    amount: float
    open_interest: int
    settlement: float


@dataclass(frozen=True, eq=False)
class DayLayout:
    """When the snapshots of a variety-day are: datetime_ns int64[n], session_rows int64[s] (first of each session)."""

    datetime_ns: np.ndarray
    session_rows: np.ndarray


class History:
    """What one scenario's exchange prints.

    Parameters
    ----------
    scenario : Scenario
    cache_dir : Path, optional
        Where rendered tapes are kept between processes. A file that cannot be read is made anew.
    calendar : TradingCalendar, optional
        The bundled one by default.

    Threads may share an instance.
    """

    def __init__(
        self, scenario: Scenario, cache_dir: Path | None = None, calendar: TradingCalendar | None = None
    ) -> None:
        self.scenario = scenario
        self.calendar = calendar or bundled_calendar()
        self.days: list[date] = self.calendar.days(scenario.start, scenario.end)
        self.live_days: list[date] = live_days(scenario, self.calendar)
        self.live_day: date = self.live_days[0]
        self._listings = {key: Listing(get_variety(key), scenario, self.calendar) for key in scenario.varieties}
        self._cache_dir = Path(cache_dir) / scenario.digest[:16] if cache_dir is not None else None
        self._lock = threading.RLock()
        self._rendering: dict[tuple[str, date], threading.Lock] = {}
        self._memory: OrderedDict[tuple[str, date], tuple[ContractDay, int]] = OrderedDict()
        self._layouts: dict[tuple[str, date], DayLayout] = {}
        self._paths: dict[tuple[str, date], DayPath | RealisticPath] = {}
        self._levels: dict[str, dict[date, int]] = {}

    # ---- what is listed
    @cached_property
    def instruments(self) -> dict[str, Instrument]:
        """Every listed contract by symbol, in the order of varieties and deliveries."""
        return {s: i for listing in self._listings.values() for s, i in list_instruments(listing).items()}

    def contracts(self, variety: str) -> tuple[str, ...]:
        """Symbols listed of a variety, by delivery; UsageError for one the scenario does not play."""
        return self._listing(variety).contracts

    def contract_days(self, symbol: str) -> list[date]:
        """Days on which a contract trades, the live days included."""
        listing = self._listing(self._instrument(symbol).variety)
        return [day for day in listing.days if listing.trades_on(symbol, day)]

    def main_contract(self, variety: str, day: date) -> str:
        """The main contract of a history day or of a live day, by the open-interest rule."""
        return self._listing(variety).main_contract(day)

    def continuous(self, variety: str) -> list[tuple[date, str]]:
        """(trading day, main contract) of every day, the live days included."""
        listing = self._listing(variety)
        return [(day, listing.main_contract(day)) for day in listing.days]

    def closing_interest(self, symbol: str, day: date) -> int:
        """Open interest after the day's last snapshot, known without making the day."""
        return self._listing(self._instrument(symbol).variety).closing_interest(symbol, day)

    # ---- what is printed
    def count(self, symbol: str, day: date) -> int:
        """Ticks of a contract-day; 0 where the contract does not trade."""
        variety = self._instrument(symbol).variety
        return self.layout(variety, day).datetime_ns.size if self._listing(variety).trades_on(symbol, day) else 0

    def first_id(self, symbol: str, day: date) -> int:
        """Id of the day's first tick: ids count a contract's ticks from 0 on the scenario's first day."""
        return sum(self.count(symbol, earlier) for earlier in self.contract_days(symbol) if earlier < day)

    def day(self, symbol: str, day: date) -> ContractDay:
        """A contract's ticks of one history day or of a live day.

        Raises
        ------
        UsageError
            The contract is not listed or does not trade on that day.
        """
        key = symbol, day
        with self._lock:
            if key in self._memory:
                self._memory.move_to_end(key)
                return self._memory[key][0]
            rendering = self._rendering.setdefault(key, threading.Lock())
        with rendering:
            with self._lock:
                if key in self._memory:
                    return self._memory[key][0]
            made = self._to_market_terms(symbol, day, self._tape(symbol, day))
            self._remember(key, made)
        return made

    def daily_bars(self, symbol: str) -> list[DailyBar]:
        """Bars of a contract's history days (a live day has none yet). Makes each of the days."""
        return [self.daily_bar(symbol, day) for day in self.contract_days(symbol) if day < self.live_day]

    def daily_bar(self, symbol: str, day: date) -> DailyBar:
        """The bar of one whole contract-day."""
        values, instrument = self.day(symbol, day).values, self._instrument(symbol)
        end = {name: values[name][-1].item() for name in ("highest", "lowest", "last_price", "volume", "amount")}
        mean = end["amount"] / (end["volume"] * instrument.multiplier * instrument.price_tick)
        return DailyBar(
            day=day,
            open=float(values["last_price"][0]),
            high=end["highest"],
            low=end["lowest"],
            close=end["last_price"],
            volume=end["volume"],
            amount=end["amount"],
            open_interest=int(values["open_interest"][-1]),
            settlement=round(round(mean) * instrument.price_tick, instrument.decimals),
        )

    # ---- the hidden truth
    def path(self, variety: str, day: date) -> DayPath | RealisticPath:
        """The efficient price and driver of a variety-day, shared by its contracts. For evaluation, never the wire."""
        key = variety, day
        with self._lock:
            if key not in self._paths:
                steps = self.layout(variety, day).datetime_ns.size
                world, base_ticks = self.scenario.parameters, self._base_ticks(variety)
                self._paths[key] = day_simulation.draw_path(world, self.scenario.seed, variety, day, steps, base_ticks)
            return self._paths[key]

    def write_truth(self, directory: Path) -> None:
        """Write `scenario.toml` and `<variety>/<day>.npz` of every day, for `oracle.Oracle`.

        A day holds datetime_ns and what its path calls the truth: x (the driver) and, where the world has them, code
        and age (see `DayPath`), or regime and mean_move (see `RealisticPath`).
        """
        for variety, listing in self._listings.items():
            for day in listing.days:
                arrays = {"datetime_ns": self.layout(variety, day).datetime_ns, **self.path(variety, day).truth()}
                _write_npz(Path(directory) / variety / f"{day}.npz", arrays)
        self.scenario.write(Path(directory) / "scenario.toml")

    # ---- how a day is made
    def layout(self, variety: str, day: date) -> DayLayout:
        """When the snapshots of a variety-day are; the first of a session is at its opening."""
        key = variety, day
        with self._lock:
            if key not in self._layouts:
                step = round(self.scenario.snapshot_seconds * 1e9)
                sessions = [np.arange(a, b, step, dtype=np.int64) for a, b in self.calendar.sessions(variety, day)]
                first = np.cumsum([0, *(times.size for times in sessions[:-1])], dtype=np.int64)
                self._layouts[key] = DayLayout(_frozen(np.concatenate(sessions)), first)
            return self._layouts[key]

    def opening_offset(self, variety: str, day: date) -> int:
        """Ticks from the scenario's starting price to the day's opening efficient price, the overnight gap included."""
        with self._lock:
            if variety not in self._levels:
                self._levels[variety] = self._opening_offsets(variety)
            return self._levels[variety][day]

    def _base_ticks(self, variety: str) -> int:
        return self.instruments[self._listing(variety).contracts[0]].base_ticks

    def _opening_offsets(self, variety: str) -> dict[date, int]:
        listing = self._listing(variety)
        world, seed = self.scenario.parameters, self.scenario.seed
        band = LEVEL_BAND * self._base_ticks(variety)
        offsets, close = {}, 0
        for day in listing.days:
            gap = GAP_TICKS * day_simulation.keyed_gaussian("gap", world.name, seed, variety, day)
            pull = 0.1 * max(0.0, abs(close) - band)
            offsets[day] = close + round(gap - np.sign(close) * pull)
            close = offsets[day] + self.path(variety, day).net
        return offsets

    def _tape(self, symbol: str, day: date) -> Tape:
        variety = self._instrument(symbol).variety
        listing = self._listing(variety)
        if not listing.trades_on(symbol, day):
            raise UsageError(f"{symbol} does not trade on {day} here", f"days: {listing.days[0]} to {listing.days[-1]}")
        name = f"{symbol}-{day}-v{day_simulation.ENGINE_VERSION}.npz"
        path = None if self._cache_dir is None else self._cache_dir / name
        rows = self.count(symbol, day)
        tape = _read_tape(path, rows) if path is not None else None
        if tape is None:
            tape = day_simulation.render(
                self.scenario.parameters,
                self.scenario.seed,
                symbol,
                day,
                self.path(variety, day),
                self.layout(variety, day).session_rows,
                listing.activity(symbol, day),
                listing.opening_interest(symbol, day),
                listing.closing_interest(symbol, day),
            )
            if path is not None:
                _write_npz(path, tape._asdict())
        return tape

    def _to_market_terms(self, symbol: str, day: date, tape: Tape) -> ContractDay:
        instrument = self._instrument(symbol)
        shift = instrument.base_ticks + self.opening_offset(instrument.variety, day)
        tick, multiplier = instrument.price_tick, instrument.multiplier

        def price(ticks: np.ndarray) -> np.ndarray:
            return _frozen(np.round((ticks + shift) * tick, 6))

        volume = tape.volume
        # CNY a tick and lot is a whole number for every variety here, so that amounts are exact.
        amount = (tape.turnover + volume * shift) * round(tick * multiplier, 6)
        values = {
            "last_price": price(tape.last),
            "average": _frozen(amount / volume / multiplier),
            "highest": price(tape.high),
            "lowest": price(tape.low),
            "volume": _frozen(volume),
            "amount": _frozen(amount.astype(np.float64)),
            "open_interest": _frozen(tape.open_interest),
        }
        for level in range(LEVELS):
            values[f"bid_price{level + 1}"] = price(tape.bid_price[:, level])
            values[f"bid_volume{level + 1}"] = _frozen(tape.bid_volume[:, level].astype(np.int64))
            values[f"ask_price{level + 1}"] = price(tape.ask_price[:, level])
            values[f"ask_volume{level + 1}"] = _frozen(tape.ask_volume[:, level].astype(np.int64))
        trades = Trades(
            row=_frozen(tape.trades["row"].copy()),
            price=price(tape.trades["price"]),
            volume=_frozen(tape.trades["volume"].astype(np.int64)),
            side=_frozen(tape.trades["side"].copy()),
        )
        times = self.layout(instrument.variety, day).datetime_ns
        return ContractDay(symbol, day, times, values, trades)

    def _remember(self, key: tuple[str, date], made: ContractDay) -> None:
        size = sum(column.nbytes for column in made.values.values())
        with self._lock:
            self._memory[key] = made, size
            self._rendering.pop(key, None)
            total = sum(size for _, size in self._memory.values())
            while total > MEMORY_BYTES and len(self._memory) > 1:
                total -= self._memory.popitem(last=False)[1][1]

    def _listing(self, variety: str) -> Listing:
        if variety not in self._listings:
            raise UsageError(f"this exchange does not play {variety}", f"it plays {', '.join(self._listings)}")
        return self._listings[variety]

    def _instrument(self, symbol: str) -> Instrument:
        if symbol not in self.instruments:
            raise UsageError(f"{symbol} is not listed here", f"listed: {', '.join(self.instruments)}")
        return self.instruments[symbol]


def _frozen(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def _write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]  # no array is called allow_pickle
    atomic_write_bytes(path, buffer.getvalue())


def _read_tape(path: Path, rows: int) -> Tape | None:
    """A cached tape, or None where there is none that can be used."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            tape = Tape(*(arrays[name] for name in Tape._fields))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return tape if tape.volume.shape == (rows,) and tape.trades.dtype == TRADE else None
