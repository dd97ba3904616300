"""Derives a scenario from its seed: how the run is set up, where it is killed, and what goes wrong when. Pure."""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass
from typing import Any

TIMED = {
    "kill-gateway": 3, "kill-strategy": 2, "stop-gateway": 1, "stop-strategy": 1, "stop-exchange": 1,
    "abort-md": 1, "abort-td": 1, "close-md": 1, "close-td": 1, "garbage-md": 1, "garbage-td": 1,
    "delay-acks": 2, "repeat-acks": 2, "reject-next-order": 2, "lose-next-order": 2, "refuse-login": 1,
    "freeze-clock": 1, "jump": 1, "session-break": 1, "trip": 2, "set-state": 2,
}  # fmt: skip
"""What can go wrong at a moment, and how often it is chosen."""
POINTS = {
    "gateway.report->core": ("gateway", 60), "gateway.intent->send": ("gateway", 40),
    "gateway.submit->socket": ("gateway", 40), "gateway.fill->journal": ("gateway", 40),
    "gateway.kill->act": ("gateway", 1), "ledger.intent->commit": ("gateway", 40),
    "ledger.ahead->row": ("gateway", 20), "ledger.closed->commit": ("gateway", 40),
    "strategy.decided->sent": ("strategy", 150), "strategy.sent->kept": ("strategy", 150),
}  # fmt: skip
"""Failpoints: whose they are, and among how many passings the fatal one is chosen."""

SHORT = (
    ("kill-gateway", "repeat-acks", "delay-acks", "set-state"),
    ("kill-strategy", "reject-next-order", "lose-next-order", "jump"),
    ("trip", "kill-gateway", "session-break", "garbage-md"),
    ("close-md", "stop-strategy", "freeze-clock", "close-td", "abort-md"),
    ("abort-td", "stop-gateway"),
    ("refuse-login", "garbage-td", "stop-exchange", "kill-strategy"),
)
"""Acts of six scenarios that have every kind between them."""


@dataclass(frozen=True)
class Act:
    """Something that goes wrong `at_s` seconds after the strategy is ready; what `details` mean depends on the kind."""

    at_s: float
    kind: str
    details: dict[str, Any]


@dataclass(frozen=True)
class Point:
    """The `life`-th gateway or strategy is killed at the `count`-th passing of a failpoint."""

    who: str
    life: int
    name: str
    count: int


@dataclass(frozen=True)
class Plan:
    """One scenario.

    Attributes
    ----------
    exec_ : bool
        Processes are started as the product does it; else they are forked from one that has everything imported.
    greedy : bool
        The strategy wants a lot more than is allowed with every seventh target.
    offset_s : float
        Market seconds after the day's open when it begins.
    flow_s : float
        Seconds during which things go wrong.
    """

    seed: int
    exec_: bool
    greedy: bool
    offset_s: float
    speed: float
    flow_s: float
    gateway: dict[str, Any]
    lots: int
    flatten_on_stop: bool
    acts: tuple[Act, ...]
    points: tuple[Point, ...]

    def told(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def _details(kind: str, dice: random.Random) -> dict[str, Any]:
    match kind:
        case "stop-gateway" | "stop-strategy":
            return {"seconds": dice.choice([0.3, 1.0, 2.5])}
        case "stop-exchange":
            return {"seconds": dice.choice([0.2, 0.7, 1.5])}
        case "delay-acks":
            return {"seconds": dice.choice([0.05, 0.5, 3.0]), "for_s": dice.uniform(0.5, 2.5)}
        case "repeat-acks":
            return {"count": dice.randint(5, 60)}
        case "reject-next-order":
            return {"count": dice.choice([1, 1, 2, 4])}
        case "lose-next-order":
            return {"count": dice.choice([1, 1, 2])}
        case "refuse-login":
            return {"seconds": dice.uniform(0.5, 3.0), "kill": dice.random() < 0.6}
        case "freeze-clock":
            return {"seconds": dice.choice([0.5, 2.0, 4.5])}
        case "jump":
            return {"minutes": dice.choice([1, 5, 12])}
        case "trip":
            return {"way": dice.choice(["command", "file"]), "reset_s": dice.choice([0.0, 1.0, 2.5])}
        case "set-state":
            return {"state": dice.choice(["HALTED", "REDUCING"]), "back_s": dice.choice([0.0, 0.7, 2.0])}
    return {}


def plan_of(seed: int, kinds: tuple[str, ...] = ()) -> Plan:
    """The scenario of a seed; `kinds` are acts it has whatever the dice say."""
    dice = random.Random(f"chaos {seed}")
    lots = dice.choice([1, 1, 2, 3])
    exec_ = dice.random() < 0.1
    gateway = {
        "max_position": lots, "max_order": dice.choice([1, 2, 10]), "tif": dice.choice(["FAK", "FAK", "FOK", "GFD"]),
        "slip_ticks": dice.choice([0, 1, 1, 3]), "reprice_s": dice.choice([3.0, 6.0, 20.0]),
        "peg": dice.choice(["cross", "cross", "join"]), "chase_ticks": dice.choice([0, 2]),
        "on_kill": dice.choice(["hold", "flatten"]), "rate_orders": 100_000, "data_age_s": 2.5,
        "daily_loss": dice.choice([0.0, 100_000.0, 100_000.0, 3_000.0]),
    }  # fmt: skip
    gateway["peg"] = gateway["peg"] if gateway["tif"] == "GFD" else "cross"  # what rests can join, and a FOK is whole
    gateway["max_order"] = 10 if gateway["tif"] == "FOK" else gateway["max_order"]
    flow_s = dice.uniform(3.0, 6.0)
    names, weights = list(TIMED), list(TIMED.values())
    chosen = [*kinds, *dice.choices(names, weights, k=dice.randint(1, 4))] if not kinds else list(kinds)
    acts = tuple(
        sorted((Act(dice.uniform(0.3, flow_s), kind, _details(kind, dice)) for kind in chosen), key=lambda a: a.at_s)
    )
    points = []
    while not exec_ and len(points) < 3 and dice.random() < 0.55:
        name = dice.choice([*POINTS])
        who, most = POINTS[name]
        points.append(Point(who, 1 + sum(p.who == who for p in points), name, dice.randint(1, most)))
    return Plan(
        seed, exec_, not exec_ and dice.random() < 0.25, dice.choice([60.0, 600.0, 1800.0, 14_100.0]),
        dice.choice([90.0, 150.0]), flow_s, gateway, lots, dice.random() < 0.6, acts, tuple(points),
    )  # fmt: skip
