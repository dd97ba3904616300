"""Packs a day of ticks as the stores hold it: books, inferred trades, sessions; and what its contract costs."""

from __future__ import annotations

import math
from datetime import date

import numpy as np

from ghtrader_market.accounting.execution_model import MOST_SHOWN
from ghtrader_market.accounting.marks import mark_path
from ghtrader_market.reference.closing_rules import closing_rule
from ghtrader_market.reference.holding_limits import is_only_closed
from ghtrader_market.reference.tick_schema import COLUMN_INDEX, LEVELS
from ghtrader_market.reference.trading_calendar import TradingCalendar, bundled_calendar
from ghtrader_market.reference.varieties import variety_of
from ghtrader_models.simulation.book_tape import BookTape, TapeSessions, pack
from ghtrader_models.simulation.simulate import ContractTerms
from ghtrader_models.simulation.trade_inference import infer_trades


def contract_terms(contract: str, day: date, calendar: TradingCalendar | None = None) -> ContractTerms:
    """Fees of the day, multiplier, closing rule, and whether the contract is only closed, from the variety table.

    Raises
    ------
    UsageError
        The table has no fees so far back.
    """
    variety = variety_of(contract)
    return ContractTerms(
        rates=variety.fees(contract, day), multiplier=variety.multiplier, rule=closing_rule(contract),
        only_closed=is_only_closed(variety, contract, day, calendar or bundled_calendar()),
    )  # fmt: skip


def tape_of_day(
    datetime_ns: np.ndarray,
    values: np.ndarray,
    contract: str,
    day: date,
    calendar: TradingCalendar | None = None,
    opening_mark: float = math.nan,
) -> BookTape:
    """The tape of a contract's trading day.

    A day on which no row shows a second level is one of best quotes alone: what lies behind them is not known then.

    Parameters
    ----------
    datetime_ns : int64[n]
        Times of the ticks, UTC epoch ns, ascending.
    values : float64[27, n]
        In `VALUE_COLUMNS` order (`tick_schema.values_matrix`).
    contract, day
        Whose ticks they are.
    calendar : TradingCalendar, optional
        The bundled one by default.
    opening_mark : float
        What the contract was valued at before, CNY; NaN where it is not known.

    Raises
    ------
    UsageError
        Times that descend, or a day that does not trade.
    """
    variety = variety_of(contract)
    price_tick = variety.price_tick(contract, day)

    def side(name: str) -> tuple[np.ndarray, np.ndarray]:
        prices = np.stack([values[COLUMN_INDEX[f"{name}_price{level}"]] for level in range(1, LEVELS + 1)], axis=1)
        lots = np.stack([values[COLUMN_INDEX[f"{name}_volume{level}"]] for level in range(1, LEVELS + 1)], axis=1)
        return prices, np.where((lots > 0) & (lots <= MOST_SHOWN), lots, 0).astype(np.int64)

    (bid, bid_lots), (ask, ask_lots) = side("bid"), side("ask")
    shown = np.flatnonzero(((bid > 0.0) | (ask > 0.0)).any(axis=0))
    levels = int(shown.max(initial=0)) + 1
    counted = np.nan_to_num(values[COLUMN_INDEX["volume"]], nan=0.0).astype(np.int64)
    trades = infer_trades(
        bid[:, 0], ask[:, 0], values[COLUMN_INDEX["last_price"]], counted, values[COLUMN_INDEX["amount"]],
        variety.multiplier, price_tick,
    )  # fmt: skip
    sessions = TapeSessions.between(datetime_ns, (calendar or bundled_calendar()).sessions(variety, day))
    return pack(
        datetime_ns, bid[:, :levels], bid_lots[:, :levels], ask[:, :levels], ask_lots[:, :levels], price_tick,
        trades=trades, sessions=sessions,
        marks=mark_path(bid[:, 0], ask[:, 0], values[COLUMN_INDEX["last_price"]], price_tick, opening_mark),
    )  # fmt: skip
