"""Compares our roll schedule with the vendor's table of continuous contracts.

Where they differ is reported, never followed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from ghtrader_base.address_passwords import hide_secrets
from ghtrader_base.errors import FailedError, GhtraderError, UnreachableError
from ghtrader_base.files import parse_json
from ghtrader_base.settings import Settings
from ghtrader_base.web_documents import fetch_document
from ghtrader_market.reference.roll_schedule import RollSchedule
from ghtrader_market.reference.varieties import get_variety

VENDOR_URL = "https://files.shinnytech.com/continuous_table.json"
"""Asked where TQ_CONT_TABLE_URL is not set and there is an account with the vendor."""
_TIMEOUT_S = 5.0
_MOST_BYTES = 16 << 20
"""Of the vendor's table; that of today has some hundred KB."""
Changes = Sequence[tuple[date, str]]
"""First day of each main contract, ascending."""


@dataclass(frozen=True)
class Disagreement:
    """A day on which the vendor's main contract is another one."""

    day: date
    ours: str
    vendor: str

    def line(self) -> str:
        """For a terminal."""
        return f"{self.day}: {self.ours} by open interest, {self.vendor} at the vendor"


@dataclass(frozen=True)
class CrossCheck:
    """How a schedule compares with the vendor's table.

    Attributes
    ----------
    days : int
        Scheduled days the vendor's table speaks for.
    differences : tuple of Disagreement
    not_done : str
        Why nothing was compared; empty where it was.
    """

    days: int = 0
    differences: tuple[Disagreement, ...] = ()
    not_done: str = ""

    def to_json(self) -> dict[str, Any]:
        """For `--json` and Dagster."""
        return {
            "vendor_days": self.days,
            "vendor_differences": [difference.line() for difference in self.differences],
            "vendor_check": self.not_done or ("differs" if self.differences else "agrees"),
        }


def parse_changes(payload: bytes, variety: str) -> list[tuple[date, str]]:
    """A variety's part of the vendor's document ``{"SHFE.cu": [["20250106", "SHFE.cu2502"], ...], ...}``.

    Raises
    ------
    FailedError
        It is anything else, or has no such variety.
    """
    product = get_variety(variety).continuous_symbol.removeprefix("KQ.m@")
    try:
        rows = parse_json(payload)[product]
        return sorted((datetime.strptime(str(day), "%Y%m%d").date(), str(contract)) for day, contract in rows)
    except (ValueError, TypeError, KeyError) as error:
        raise FailedError(
            f"the vendor's continuous table has no usable {product}: {error!r}", "check TQ_CONT_TABLE_URL"
        ) from error


def compare_with_vendor(schedule: RollSchedule, changes: Changes) -> CrossCheck:
    """Every scheduled day from the table's first change on; days a recording declared are left out."""
    found, days = [], 0
    position = -1
    for day in schedule.days:
        while position + 1 < len(changes) and changes[position + 1][0] <= day.day:
            position += 1
        if position < 0 or day.declared:
            continue
        days += 1
        if changes[position][1] != day.contract:
            found.append(Disagreement(day.day, day.contract, changes[position][1]))
    return CrossCheck(days, tuple(found))


def cross_check(settings: Settings, schedule: RollSchedule) -> CrossCheck:
    """Ask for the vendor's table and compare; what cannot be asked is said in `not_done`, and stops nothing."""
    url = settings.tq_cont_table_url or (VENDOR_URL if settings.tqsdk_user else "")
    if not url:
        return CrossCheck(not_done="not asked: no account and no TQ_CONT_TABLE_URL")
    try:
        return compare_with_vendor(schedule, parse_changes(_fetch(url), schedule.variety))
    except GhtraderError as error:
        return CrossCheck(not_done=f"not asked: {error.message}")


def _fetch(url: str) -> bytes:
    try:
        return fetch_document(url, _TIMEOUT_S, _MOST_BYTES)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        what = f"no continuous table at {hide_secrets(url)}: {hide_secrets(str(reason), url)}"
        raise UnreachableError(what, "check TQ_CONT_TABLE_URL") from error
