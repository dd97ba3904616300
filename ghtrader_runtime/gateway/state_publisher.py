"""Publishes a gateway's state: on the bus, in a file for observers, and as the summary of a run."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np

from ghtrader_market.accounting.fees import fee
from ghtrader_market.reference.tick_schema import COLUMN_INDEX
from ghtrader_runtime.bus.messages import AccountState, Hello, Message, OrderLine, Welcome, pack_history
from ghtrader_runtime.runlog.journal import read_lines
from ghtrader_runtime.runlog.run_totals import by_contract, profit, round_trips

if TYPE_CHECKING:
    from ghtrader_runtime.core.events import Snapshot
    from ghtrader_runtime.core.orders import Order
    from ghtrader_runtime.gateway.gateway import Gateway

_HISTORY_ROWS = 2000
_HISTORY_CHUNKS = 5
"""Chunks a hello is answered with at most: what waits in a socket stays small; who needs more says hello again."""
_BID, _ASK, _LAST = COLUMN_INDEX["bid_price1"], COLUMN_INDEX["ask_price1"], COLUMN_INDEX["last_price"]


def mid_of(values: np.ndarray) -> float:
    """Mid of a tick, float64[27]; the last price where a side is empty."""
    bid, ask = float(values[_BID]), float(values[_ASK])
    return float(values[_LAST]) if math.isnan(bid) or math.isnan(ask) else (bid + ask) / 2


def commission_of(gateway: Gateway, fill: dict[str, Any]) -> float:
    """Fee of a fill by the variety table, for a broker that does not say."""
    day = date.fromisoformat(gateway.day.name or str(gateway.market.trading_day))
    rates = gateway.variety.fees(fill["symbol"], day)
    return fee(rates, fill["offset"], fill["price"], fill["volume"], gateway.variety.multiplier)


def fills_of_earlier_lives(gateway: Gateway, snapshot: Snapshot) -> list[dict[str, Any]]:
    """Fills of this run before its gateway was started again: those its journal has, and what the broker tells beyond
    (a kill -9 costs the journal its last moment)."""
    folder, known = gateway.run_dir, gateway.ledger.state
    lines = read_lines(folder / "fills.jsonl")
    fills = [{name: value for name, value in line.items() if name not in ("at", "kind")} for line in lines]
    seen = {fill["trade"] for fill in fills}
    epochs = {line["epoch"] for line in read_lines(folder / "events.jsonl") if line["kind"] == "start"}
    ours = tuple(f"gt{known.ledger_id}-{epoch}-" for epoch in epochs if epoch != known.epoch)
    for trade in snapshot.trades if ours else ():
        if trade.order_id.startswith(ours) and trade.trade_id not in seen:
            fields = {
                "trade": trade.trade_id, "order": trade.order_id, "symbol": trade.symbol, "side": trade.side,
                "offset": trade.offset, "volume": trade.volume, "price": trade.price, "market_ns": trade.market_ns,
                "commission": trade.commission,
            }  # fmt: skip
            gateway.journal.write("fills", "fill", fields)
            fills.append(fields)
    return sorted(fills, key=lambda fill: fill["market_ns"])


def welcome(gateway: Gateway, hello: Hello) -> list[Message]:
    """The answer to who joins: what is traded, and the day's ticks with a greater id than `hello.after_id`."""
    ids, times, values = gateway.daybook.after(hello.after_id)
    most = _HISTORY_ROWS * _HISTORY_CHUNKS
    more = len(ids) > most
    ids, times, values = ids[:most], times[:most], values[:most]
    options, contract, now_ns = gateway.options, gateway.binding.contract, time.monotonic_ns()
    messages: list[Message] = [
        Welcome(
            session=gateway.session, revision=0, sent_ns=now_ns, symbol=contract, account=gateway.ref.name,
            mode=options.mode, run_id=options.run_id, run_dir=str(gateway.run_dir), lockstep=gateway.broker.lockstep,
            price_tick=gateway.market.price_tick, multiplier=gateway.market.multiplier,
            max_position=options.max_position, position=gateway.core.state.position(contract).net,
            rows=len(ids), tick_revision=gateway.tick_revision, more=more,
            answers=hello.revision, requested=options.symbol,
        )
    ]  # fmt: skip
    for first in range(0, len(ids), _HISTORY_ROWS):
        part = slice(first, first + _HISTORY_ROWS)
        last = first + _HISTORY_ROWS >= len(ids)
        messages.append(
            pack_history(
                gateway.session, first, now_ns, contract, gateway.daybook.day, ids[part], times[part],
                values[part], last, hello.revision,
            )
        )  # fmt: skip
    return messages


def account_state(gateway: Gateway, revision: int, ended: str) -> AccountState:
    """The account as the gateway knows it now."""
    state, target = gateway.core.state, gateway.last_target
    working = [order for order in state.orders.values() if order.live and not order.closed]
    opening, peak = (state.marks.opening, state.marks.peak) if state.marks.trading_day else (math.nan, math.nan)
    return AccountState(
        session=gateway.session, revision=revision, sent_ns=time.monotonic_ns(), account=gateway.ref.name,
        mode=gateway.options.mode, run_id=gateway.options.run_id, trading_state=str(state.trading_state),
        reasons=[reason for _, reason in state.blocks.values()], killed=gateway.killed,
        link="down" if "broker" in state.blocks else "up", trading_day=gateway.day.name,
        positions={symbol: position.net for symbol, position in state.positions.items()},
        working=len(working),
        targets={symbol: wanted.volume for symbol, wanted in state.targets.items()},
        balance=gateway.broker.balance(), tick_revision=gateway.tick_revision, ready=list(gateway.ready), ended=ended,
        links={**_lines(state.blocks), **gateway.peers.states()},
        orders=[_line(order) for order in working[:20]],
        net_pnl=gateway.tally.net(gateway.marks), fees=gateway.tally.fees, opening=opening, peak=peak,
        data_age_s=time.monotonic() - gateway.tick_s, counts={**gateway.counts, "fills": len(gateway.fills)},
        stages={name: histogram.plain() for name, histogram in gateway.latency.stages.items()},
        probabilities=list(target.probabilities) if target else [], reason=target.reason if target else "",
        requested=gateway.options.symbol, contract=gateway.binding.contract,
    )  # fmt: skip


def _second_fence(gateway: Gateway) -> list[str] | str:
    """TqSdk's own (broker-side) risk rules in force, or why there are none."""
    fence = getattr(gateway.broker, "fence", None)
    return (fence.missing or fence.names) if fence is not None else []


def _lines(blocks: Mapping[str, object]) -> dict[str, str]:
    """States of the gateway's own links, by what stands against trading."""
    data = "DOWN" if "data-link" in blocks else "STALE" if "data" in blocks else "LIVE"
    return {"broker": "DOWN" if "broker" in blocks else "LIVE", "data": data}


def _line(order: Order) -> OrderLine:
    return OrderLine(
        order.order_id, order.symbol, order.side, order.offset, order.volume, order.left, order.price,
        str(order.status),
    )  # fmt: skip


def write_state_file(gateway: Gateway, ended: str = "") -> None:
    """What supervisor, status and views look at: which gateway this is and how it stands. Off the hot path."""
    state, last = gateway.core.state, gateway.last_state
    document = {
        "session": gateway.session, "pid": os.getpid(), "account": gateway.ref.name, "broker": gateway.ref.broker,
        "mode": gateway.options.mode, "symbol": gateway.binding.contract, "requested": gateway.options.symbol,
        "trading_day": gateway.day.name, "schedule_hash": gateway.binding.schedule_hash,
        "schedule_note": gateway.binding.note, "state_dir": str(gateway.ref.state_dir),
        "revision": state.revision, "ready": list(gateway.ready.values()), "killed": gateway.killed,
        "trading_state": str(state.trading_state), "reasons": [reason for _, reason in state.blocks.values()],
        "links": dict(last.links) if last else gateway.peers.states(), "metrics": gateway.metrics_url,
        "tqsdk_rules": _second_fence(gateway),
        "positions": dict(last.positions) if last else {}, "net_pnl": last.net_pnl if last else 0.0,
        "data_age_s": last.data_age_s if last else None, "ended": ended, "written_ns": time.time_ns(),
    }  # fmt: skip
    gateway.journal.replace(gateway.run_dir / "gateway.json", document)


def serve_metrics(gateway: Gateway, stack: contextlib.ExitStack) -> str:
    """Prometheus for this gateway until `stack` unwinds; where to find it."""
    from ghtrader_runtime.gateway.prometheus import MetricsServer, RuntimeCollector

    def further() -> dict[str, float]:
        return {
            "malformed": gateway.bus.malformed, "unsent": gateway.bus.unsent, "strangers": gateway.peers.strangers,
            "missed_ticks": getattr(gateway.broker, "missed", 0), "journal_dropped": gateway.journal.dropped,
        }  # fmt: skip

    server = MetricsServer(RuntimeCollector(lambda: gateway.last_state, further), gateway.settings.metrics_port)
    stack.callback(server.close)
    return server.url


def summarise(gateway: Gateway, ended: str) -> dict[str, Any]:
    """The run in numbers; what is still held is valued at the last mid of its contract."""
    symbol, state, opening = gateway.binding.contract, gateway.core.state, gateway.opening
    traded = {symbol, *opening, *(fill["symbol"] for fill in gateway.fills)}
    multipliers = dict.fromkeys(traded, gateway.market.multiplier)
    money = profit(gateway.fills, multipliers, gateway.marks, opening)
    return {
        "run_id": gateway.options.run_id, "account": gateway.ref.name, "broker": gateway.ref.broker,
        "mode": gateway.options.mode, "symbol": symbol, "requested": gateway.options.symbol,
        "trading_day": gateway.day.name, "trading_days": sorted(gateway.days_traded), "rolls": gateway.rolls,
        "ended": ended,
        **gateway.counts, "foreseen": gateway.ledger.foreseen, "fills": len(gateway.fills),
        "round_trips": round_trips(gateway.fills, opening),
        **{name: round(value, 6) for name, value in money.items()},
        "by_contract": by_contract(gateway.fills, multipliers, gateway.marks, opening),
        "opening": opening,
        "positions": {name: position.net for name, position in state.positions.items()},
        "trading_state": str(state.trading_state), "killed": gateway.killed,
        "tick_to_target_ms": gateway.latency.summary(),
        "missed_ticks": getattr(gateway.broker, "missed", 0), "malformed": gateway.bus.malformed,
        "strangers": gateway.peers.strangers,
        "journal_failure": gateway.journal.failure, "journal_dropped": gateway.journal.dropped,
        "fill_list": gateway.fills,
    }  # fmt: skip
