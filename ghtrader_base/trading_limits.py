"""Lists a gateway's risk limits, policies and execution options: default, range, unit and help, each stated once.

Settings (`GHTRADER_RISK_...`), command options, `GatewayOptions`, `RiskLimits`, `env.example` and the reference pages
are made from this table. What a limit blocks is decided in `ghtrader_runtime/core/risk_rules.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ghtrader_base.trading_enums import OnKill, Peg, TimeInForce, UnknownOrders

LimitValue = int | float | str
"""What a limit, policy or option is set to."""
RATE_WINDOW_S = 60.0
"""Seconds of market time in which `rate_orders` are counted."""


class LimitGroup(StrEnum):
    """Heading that an option stands under in --help."""

    RISK = "Risk limits"
    POLICY = "What happens when"
    EXECUTION = "How a target is reached"


@dataclass(frozen=True, kw_only=True)
class Limit:
    """One limit, policy or option of a gateway.

    Attributes
    ----------
    name : str
        Field of `GatewayOptions`, and of `RiskLimits` where it is a limit.
    default : int, float or a member of `words`
        What holds where neither option nor setting says otherwise.
    flag : str
        Command option.
    setting : str
        Environment name; empty where there is no setting.
    unit : str
        As --help shows it: LOTS, CNY, SECONDS, ...
    help : str
        One sentence.
    low, high : float, optional
        The range, both ends in it.
    words : type of StrEnum, optional
        The words it takes, where it is one.
    note : str
        Further defaults, for --help.
    """

    name: str
    default: int | float | str
    flag: str
    help: str
    setting: str = ""
    unit: str = ""
    low: float | None = None
    high: float | None = None
    words: type[StrEnum] | None = None
    group: LimitGroup = LimitGroup.RISK
    note: str = ""

    @property
    def choices(self) -> tuple[str, ...]:
        """The words it takes; empty where it is a number."""
        return tuple(word.value for word in self.words) if self.words is not None else ()

    @property
    def default_text(self) -> str:
        """The default as a person types it."""
        whole = isinstance(self.default, float) and self.default.is_integer()
        return f"{self.default:.0f}{self.note}" if whole else f"{self.default}{self.note}"


TRADING_LIMITS = (
    Limit(
        name="max_position", default=1, flag="--max-position", setting="GHTRADER_RISK_MAX_POSITION", unit="LOTS", low=1,
        help="Lots of one contract, long or short.",
    ),
    Limit(
        name="max_order", default=10, flag="--max-order", setting="GHTRADER_RISK_MAX_ORDER", unit="LOTS", low=1,
        help="Lots of one order.",
    ),
    Limit(
        name="max_open_orders", default=20, flag="--max-open-orders", setting="GHTRADER_RISK_MAX_OPEN_ORDERS",
        unit="N", low=1, help="Working orders of an account at once.",
    ),
    Limit(
        name="rate_orders", default=20, flag="--max-orders-per-minute", setting="GHTRADER_RISK_MAX_ORDERS_PER_MINUTE",
        unit="N", low=1, help="Orders in a minute of market time.", note="; paper: 120",
    ),
    Limit(
        name="max_notional", default=20_000_000.0, flag="--max-notional", setting="GHTRADER_RISK_MAX_NOTIONAL",
        unit="CNY", low=1.0, help="Worth of one order.",
    ),
    Limit(
        name="price_collar", default=0.02, flag="--price-collar", setting="GHTRADER_RISK_PRICE_COLLAR", unit="PART",
        low=0.0001, high=1.0, help="A limit price's largest distance from the mid, as a part of it.",
    ),
    Limit(
        name="data_age_s", default=15.0, flag="--data-age", setting="GHTRADER_RISK_DATA_AGE_S", unit="SECONDS", low=0.0,
        help="Seconds without a tick, in a session, from which nothing is opened; 0: never.",
    ),
    Limit(
        name="daily_loss", default=100_000.0, flag="--daily-loss", setting="GHTRADER_RISK_DAILY_LOSS", unit="CNY",
        low=0.0, help="Lost since the day opened: the kill switch trips; 0: never.",
    ),
    Limit(
        name="drawdown", default=150_000.0, flag="--drawdown", setting="GHTRADER_RISK_DRAWDOWN", unit="CNY", low=0.0,
        help="Below the day's highest equity: the kill switch trips; 0: never.",
    ),
    Limit(
        name="day_orders", default=2000, flag="--day-orders", setting="GHTRADER_RISK_DAY_ORDERS", unit="N", low=0,
        help="Opening orders of a contract in a day, by TqSdk's own rule where the login has it; 0: no rule.",
    ),
    Limit(
        name="day_lots", default=10_000, flag="--day-lots", setting="GHTRADER_RISK_DAY_LOTS", unit="LOTS", low=0,
        help="Lots opened of a contract in a day, by TqSdk's own rule where the login has it; 0: no rule.",
    ),
    Limit(
        name="on_kill", default=OnKill.HOLD, flag="--on-kill", setting="GHTRADER_RISK_ON_KILL", words=OnKill,
        group=LimitGroup.POLICY, help="A tripped switch leaves positions, or closes them first.",
    ),
    Limit(
        name="unknown_orders", default=UnknownOrders.CANCEL, flag="--unknown-orders",
        setting="GHTRADER_RISK_UNKNOWN_ORDERS", words=UnknownOrders, group=LimitGroup.POLICY,
        help="Working orders nobody here sent: cancelled, or left to work and counted.",
    ),
    Limit(
        name="slip_ticks", default=1, flag="--slip-ticks", unit="TICKS", low=0, group=LimitGroup.EXECUTION,
        help="Price ticks beyond the opposite best price.",
    ),
    Limit(
        name="latency_ms", default=2.0, flag="--latency", setting="GHTRADER_LATENCY_MS", unit="MS", low=0.0,
        high=60_000.0, group=LimitGroup.EXECUTION,
        help="On paper and in a benchmark: market time from a decision to the book that its order meets.",
    ),
    Limit(
        name="tif", default=TimeInForce.FAK, flag="--tif", words=TimeInForce, group=LimitGroup.EXECUTION,
        help="FAK: at once or cancelled; FOK: all or nothing; GFD: rests, re-priced.",
    ),
    Limit(
        name="peg", default=Peg.CROSS, flag="--peg", words=Peg, group=LimitGroup.EXECUTION,
        help="Where a GFD order is put: the opposite best, or our own.",
    ),
    Limit(
        name="reprice_s", default=5.0, flag="--reprice", unit="SECONDS", low=0.1, group=LimitGroup.EXECUTION,
        help="Market seconds after which a resting order is sent anew.",
    ),
    Limit(
        name="chase_ticks", default=0, flag="--chase", unit="TICKS", low=0, group=LimitGroup.EXECUTION,
        help="Price ticks a resting order may be away from where it would be put now; 0: any.",
    ),
    Limit(
        name="max_chases", default=3, flag="--max-chases", unit="N", low=0, group=LimitGroup.EXECUTION,
        help="After so many, a --peg join order crosses.",
    ),
)  # fmt: skip
_BY_NAME = {limit.name: limit for limit in TRADING_LIMITS}


def limit(name: str) -> Limit:
    """A limit by its name; KeyError where there is none."""
    return _BY_NAME[name]


def default(name: str) -> Any:
    """What holds where nobody says otherwise."""
    return _BY_NAME[name].default
