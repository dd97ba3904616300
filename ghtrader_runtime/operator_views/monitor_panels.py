"""Formats the monitor's panels as text: pure functions from the live state to lines that fit 80 columns."""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone

import numpy as np

from ghtrader_market.reference.tick_schema import COLUMN_INDEX
from ghtrader_runtime.bus.link_state import LinkState
from ghtrader_runtime.bus.messages import AccountState
from ghtrader_runtime.gateway.prometheus import worst_by_kind
from ghtrader_runtime.operator_views.gateway_view import Picture
from ghtrader_runtime.runlog.latency import STAGES, quantile_ms

SHANGHAI = timezone(timedelta(hours=8))
BOOK_WIDTH = 30
_GOOD, _WARN, _BAD = "green", "yellow", "bold red"
Line = tuple[str, str]
"""Text and its style (a rich style; empty for plain)."""


def _number(value: float, form: str) -> str:
    return format(value, form) if math.isfinite(value) else "-"


def headline(picture: Picture, broker: str) -> list[Line]:
    """Who trades what, and the market's time."""
    state, tick = picture.state, picture.tick
    if state is None:
        return [("ghTrader monitor   waiting for the gateway", _WARN)]
    when = "no tick yet"
    if tick is not None:
        when = datetime.fromtimestamp(tick.datetime_ns / 1e9, SHANGHAI).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    symbol = tick.symbol if tick is not None else ", ".join(state.positions) or "-"
    return [(f"{state.account} ({state.mode}, {broker})  {symbol}  {when}"[:80], "bold")]


def book(values: np.ndarray) -> list[Line]:
    """Five levels, asks on top; `values` float64[27]. The bar is the level's share of the largest."""
    column = COLUMN_INDEX
    sizes = [values[column[f"{side}_volume{level}"]] for side in ("bid", "ask") for level in range(1, 6)]
    most = max((size for size in sizes if math.isfinite(size)), default=0.0) or 1.0
    lines: list[Line] = []
    for side, levels, style in (("ask", range(5, 0, -1), "red"), ("bid", range(1, 6), "green")):
        if side == "bid":
            last = float(values[column["last_price"]])
            lines.append((f"{'':4}{_number(last, ',.2f'):>12}  last", "bold"))
        for level in levels:
            price, size = float(values[column[f"{side}_price{level}"]]), float(values[column[f"{side}_volume{level}"]])
            bar = "█" * round(8 * size / most) if math.isfinite(price) else ""
            shown = _number(size, ".0f") if math.isfinite(price) else "-"
            lines.append((f"{side[0]}{level}  {_number(price, ',.2f'):>12} {shown:>5} {bar}"[:BOOK_WIDTH], style))
    return lines


def signal(state: AccountState) -> list[Line]:
    """The model's opinion, the target and what is held."""
    lines: list[Line] = []
    if len(state.probabilities) == 3 and all(math.isfinite(p) for p in state.probabilities):
        for name, p in zip(("DOWN", "FLAT", "UP"), state.probabilities, strict=True):
            lines.append((f"{name:5}{p:6.3f} {'█' * round(20 * p)}", ""))
    else:
        lines += [("no opinion yet", _WARN), ("", ""), ("", "")]
    for symbol in sorted({*state.positions, *state.targets}):
        held, wanted = state.positions.get(symbol, 0), state.targets.get(symbol)
        lines.append((f"{symbol}  held {held:+d}  target {'-' if wanted is None else format(wanted, '+d')}", "bold"))
    lines.append((f"why: {state.reason}"[:48] if state.reason else "", ""))
    return lines


def money(state: AccountState) -> list[Line]:
    """PnL and equity, CNY."""
    drop = state.peak - state.balance
    return [
        (f"net PnL {state.net_pnl:+,.0f}  fees {state.fees:,.0f}", _GOOD if state.net_pnl >= 0 else _BAD),
        (f"equity {_number(state.balance, ',.0f')}  below peak {_number(drop, ',.0f')}", ""),
    ]


def risk(state: AccountState) -> list[Line]:
    """Trading state, kill switch, and what stands against trading."""
    style = {"ACTIVE": _GOOD, "REDUCING": _WARN}.get(state.trading_state, _BAD)
    lines: list[Line] = [(state.trading_state + ("   KILL SWITCH TRIPPED" if state.killed else ""), style)]
    return lines + [(f"- {reason}"[:48], _WARN) for reason in state.reasons[:3]]


def links(picture: Picture, own: LinkState) -> list[Line]:
    """The view's own link to the gateway, and what the gateway says of its others; worst of a kind."""
    found = {"gateway": str(own)}
    if picture.state is not None:
        found |= worst_by_kind(picture.state.links)
    text = "  ".join(f"{name} {state}" for name, state in found.items())
    good = all(state == LinkState.LIVE for state in found.values())
    age = picture.state.data_age_s if picture.state is not None else math.nan
    return [(f"links  {text}"[:80], _GOOD if good else _BAD), (f"last tick {_number(age, '.1f')} s ago", "")]


def orders(state: AccountState, most: int = 4) -> list[Line]:
    """Orders that may still fill."""
    lines: list[Line] = [
        (
            f"{'BUY' if one.side > 0 else 'SELL':4} {one.offset:10} {one.left}/{one.volume} @ {one.price:,.2f} "
            f"{one.status:10} {one.order_id}"[:80],
            "",
        )
        for one in state.orders[:most]
    ]
    first = ("ticks", "targets", "orders", "fills")
    told = [name for name in first if name in state.counts]
    told += [name for name, count in state.counts.items() if count and name not in first]
    counts = "  ".join(f"{name} {state.counts[name]}" for name in told)
    return [(f"{len(state.orders)} working   {counts}"[:80], "bold"), *lines]


def latency(state: AccountState) -> list[Line]:
    """p50 and p99 of each stage, ms (bounds of the histogram's buckets)."""

    def shown(stage: str, q: float) -> str:
        value = quantile_ms(state.stages[stage], q) if stage in state.stages else None
        return "-" if value is None else f"{value:g}"

    names = "".join(f"{stage[:9]:>10}" for stage in STAGES)
    quantiles = (("p50", 0.5), ("p99", 0.99))
    rows = [f"{label:5}" + "".join(f"{shown(stage, q):>10}" for stage in STAGES) for label, q in quantiles]
    return [(f"{'ms':5}{names}", "bold"), *((row, "") for row in rows)]
