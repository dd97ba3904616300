"""Judges a scenario by what the exchange recorded: each finding is a sentence under the name of a rule. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from ghtrader_exchange.venue.event_log import OrderEvent
from tests.chaos.evidence import Evidence
from tests.chaos.scenario import Plan

SIGN = {"BUY": 1, "SELL": -1}
ARRIVAL_S = 3.0
"""An order whose intent is older than the trip may still be on its way; so long, stopped processes included."""


@dataclass(frozen=True)
class Finding:
    """Something that must not be: which rule, and in words."""

    rule: str
    text: str


def audit(plan: Plan, found: Evidence) -> list[Finding]:
    """Everything that is wrong with a scenario; empty where nothing is."""
    checks = (_sent_once, _intent_first, _limits, _switch, _ledger_and_exchange, _journal_and_exchange, _books)
    return [Finding(check.__name__.strip("_"), text) for check in checks for text in check(plan, found)]


def _sent_once(plan: Plan, found: Evidence) -> Iterator[str]:
    sent = Counter(row.order_id for row in found.received if row.aid == "insert_order")
    for order_id, times in sent.items():
        if times > 1:
            yield f"order {order_id} was sent {times} times"


def _intent_first(plan: Plan, found: Evidence) -> Iterator[str]:
    for row in found.received:
        if row.aid != "insert_order":
            continue
        intent = found.intents.get(row.order_id)
        if intent is None:
            yield f"order {row.order_id} reached the exchange and has no intent"
            continue
        ours = (intent["symbol"], intent["side"], intent["offset"], intent["volume"], intent["price"])
        theirs = (row.symbol, SIGN[row.direction], row.offset, row.volume, row.limit_price)
        if ours != theirs:
            yield f"order {row.order_id}: intent {ours}, received {theirs}"
        if intent["wall_ns"] > row.at_ns + found.wall_offset_ns + 50_000_000:
            yield f"order {row.order_id} came before its intent was written"


def path(record: list[OrderEvent]) -> Iterator[tuple[OrderEvent, int, int, int]]:
    """Each step of the record with the position after it, and the most and least it could become by what works."""
    net = 0
    works: dict[str, int] = {}
    for row in record:
        order_id, side = row.order_id, SIGN[row.direction]
        if row.what == "filled":
            net += side * row.volume
        if row.what in ("accepted", "filled") and row.left:
            works[order_id] = side * row.left
        else:
            works.pop(order_id, None)
        yield row, net, net + sum(v for v in works.values() if v > 0), net + sum(v for v in works.values() if v < 0)


def _limits(plan: Plan, found: Evidence) -> Iterator[str]:
    limit = plan.gateway["max_position"]
    for row, net, most, least in path(found.record):
        if most > limit or least < -limit:
            text = f"{net:+d} held, {least:+d} to {most:+d} possible, {limit} allowed"
            yield f"after {row.what} {row.order_id}: {text}"
            return


def _switch(plan: Plan, found: Evidence) -> Iterator[str]:
    """While the switch is tripped nothing is received but what flattens, where that is wanted."""
    before = 0
    for row, net, _, _ in path(found.record):
        if row.what in ("accepted", "refused"):
            intent = found.intents.get(row.order_id)
            made_ns = intent["wall_ns"] - found.wall_offset_ns if intent else row.at_ns
            closes = row.offset != "OPEN" and SIGN[row.direction] * before < 0
            for start, end in found.kills:
                late = start < made_ns < end or start + ARRIVAL_S * 1e9 < row.at_ns < end
                if late and not (closes and plan.gateway["on_kill"] == "flatten"):
                    ago = (made_ns - start) / 1e6
                    yield f"order {row.order_id} ({row.offset}) was made {ago:.0f} ms after the trip"
        before = net


def _ledger_and_exchange(plan: Plan, found: Evidence) -> Iterator[str]:
    for order_id in found.intents.keys() - found.closed.keys():
        yield f"the intent of {order_id} is still open in the ledger"
    theirs = {row.order_id: row for row in found.orders}
    for order_id, row in theirs.items():
        if row.status != "FINISHED":
            yield f"order {order_id} still works at the exchange"
            continue
        closed = found.closed.get(order_id)
        if closed is None:
            continue  # told above
        left = row.volume_left
        outcome = "rejected" if not row.exchange_order_id else "filled" if left == 0 else "cancelled"
        if (closed["outcome"], closed["left"]) != (outcome, left):
            ours = f"{closed['outcome']} with {closed['left']} left"
            yield f"order {order_id}: {ours} in the ledger, {outcome} with {left} at the exchange"
    for order_id, closed in found.closed.items():
        if order_id not in theirs and closed["outcome"] not in ("unsent", "cancelled"):
            yield f"order {order_id}: {closed['outcome']} in the ledger, the exchange never had it"


def _journal_and_exchange(plan: Plan, found: Evidence) -> Iterator[str]:
    names = ("trade", "order", "side", "offset", "volume", "price")
    ours = Counter(tuple(row[name] for name in names) for row in found.journal if row["kind"] == "fill")
    theirs = Counter(
        (row.trade_id, row.order_id, SIGN[row.direction], row.offset, row.volume, row.price)
        for row in found.fills
    )
    for fill in theirs - ours:
        yield f"fill {fill} is in no journal"
    for fill in ours - theirs:
        yield f"the journal has a fill {fill} more often than the exchange"
    if "summary" in found.outcome:
        told = Counter(fill["trade"] for fill in found.outcome["summary"]["fill_list"])
        if told != Counter(row.trade_id for row in found.fills):
            yield f"the summary tells {sum(told.values())} fills, the exchange {len(found.fills)}"


def _books(plan: Plan, found: Evidence) -> Iterator[str]:
    net = sum(SIGN[row.direction] * row.volume for row in found.fills)
    if net != found.position:
        yield f"the exchange holds {found.position:+d}, its fills make {net:+d}"
    if "summary" not in found.outcome:
        yield f"the run ended with {found.outcome}"
        return
    ours = sum(found.outcome["summary"]["positions"].values())
    if ours != found.position:
        yield f"the summary holds {ours:+d}, the exchange {found.position:+d}"
