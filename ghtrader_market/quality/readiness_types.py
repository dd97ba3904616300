"""Defines the types that describe a day's quality: its states, the answer, and what was counted.

How a day is judged is in `readiness`, where the answer is kept in `store`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from ghtrader_market.quality.anomalies import Anomaly
from ghtrader_market.quality.day_profile import Profile

ENGINEERING_STATES = ("ok", "missing", "outdated", "corrupt")
SOURCE_STATES = ("complete", "one_level", "partial", "anomalous", "no_data", "unknown")
POLICY_STATES = ("allowed", "blocked")
OVERALL_STATES = ("ready", "degraded", "not_ready")


@dataclass(frozen=True, kw_only=True)
class Readiness:
    """The answer for one day of one contract or series.

    Attributes
    ----------
    dataset, symbol, day
        ``ticks`` of a contract or ``main_l5`` of a main series.
    engineering_state : str
        ``ok``, ``missing``, ``outdated`` (main_l5 is not made from the ticks and schedule there are now), ``corrupt``.
    source_state : str
        ``complete``, ``one_level`` (complete, without levels 2-5), ``partial``, ``anomalous``, ``no_data`` (asked for
        and empty), ``unknown``.
    policy_state : str
        ``allowed`` or ``blocked``.
    overall_state : str
        ``ready``, ``degraded`` (usable, and something is worth a look), ``not_ready``.
    reason_code : str
        ``ok`` or the one thing that decided: a kind of anomaly, ``one_level``, ``unfinished`` (recorded by us, and not
        to the day's end), ``no_trading_day`` (by the holiday list), or an engineering state.
    action_hint : str
        What to do; empty where there is nothing.
    """

    dataset: str
    symbol: str
    day: date
    engineering_state: str
    source_state: str
    policy_state: str
    overall_state: str
    reason_code: str
    action_hint: str

    @property
    def ready(self) -> bool:
        """Whether the day may feed features."""
        return self.overall_state != "not_ready"

    def to_json(self) -> dict[str, Any]:
        """The six fields, and which day they are about."""
        return {**asdict(self), "day": self.day.isoformat()}


@dataclass(frozen=True)
class DayQuality:
    """All that is known of a day's quality; `profile` is None and `anomalies` empty where the file cannot be read."""

    readiness: Readiness
    anomalies: tuple[Anomaly, ...]
    profile: Profile | None
