"""Chooses the walk-forward reports of a series that may stand beside each other, and says why the others may not.

Reports are comparable where they were scored on the same tests, learned from the same rows, saw the same factors and
traded with the same latency and orders of the same size.
A report speaks of a bundle where both were made of the same days in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ghtrader_assets.results.reports_store import ReadableReports, StoredReport
from ghtrader_base.errors import FailedError
from ghtrader_base.trading_limits import default
from ghtrader_models.bundles.provenance import BundleContent, data_hash
from ghtrader_models.families.base import get_family
from ghtrader_models.families.table import family_names


@dataclass(frozen=True, kw_only=True)
class ComparableReports:
    """Reports on the same tests, and what became of the others.

    Attributes
    ----------
    taken : list of StoredReport
        By family; empty where there is none.
    left_aside : dict of str to str
        Family -> why its report is not among them.
    """

    taken: list[StoredReport]
    left_aside: dict[str, str]


def comparable_reports(stored: ReadableReports) -> ComparableReports:
    """The reports that go with the leading one: that of the most days, the latest of those, the newest of those."""
    aside = {family: error.message for family, error in stored.damaged.items()}
    if not stored.reports:
        return ComparableReports(taken=[], left_aside=aside)
    leading = max(stored.reports, key=_rank)
    taken = []
    for report in stored.reports:
        if why := difference(report, leading):
            aside[report.family] = f"{why} than that of {leading.family}"
        else:
            taken.append(report)
    return ComparableReports(taken=taken, left_aside=aside)


def difference(report: StoredReport, other: StoredReport) -> str:
    """Why two reports may not stand beside each other; empty where they may.

    A report of an older version has no hash of its splits: then its test rows alone are compared. The policy may
    differ, it is part of what a candidate is; how late orders meet the market is not.
    """
    if report.context.days != other.context.days:
        return "its report is of other days"
    same_splits = report.splits_hash == other.splits_hash or not (report.splits_hash and other.splits_hash)
    if report.tests_hash != other.tests_hash or not same_splits:
        return "its report is of other splits"
    if report.context.data_hash != other.context.data_hash:
        return "its report is of other features or labels"
    if report.context.latency_ms != other.context.latency_ms:
        return "its report is of another latency of orders"
    if largest_order(report) != largest_order(other):
        return "its report is of another largest order"
    return ""


def largest_order(report: StoredReport) -> int:
    """Lots of the largest order that the report's simulation sent."""
    told = report.context.max_order
    return int(default("max_order")) if told is None else told


def with_defaults(family: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration as it was kept, with the defaults of fields that the family has had since."""
    return {**asdict(get_family(family).config()), **config} if config else {}


def why_not_of(report: StoredReport, content: BundleContent) -> str:
    """Why a report's scores are none of a bundle; empty where they are.

    A bundle that was trained with other settings, or is calibrated where what was scored is not, is another model: the
    scores of the one are no reason to trade the other. A report of an older version may not say its settings.
    """
    if data_hash(content.days) != report.context.data_hash:
        return "learned from other days than its report speaks of"
    given, scored = with_defaults(report.family, content.config), with_defaults(report.family, report.config)
    other = sorted(name for name in {*given, *scored} if given.get(name) != scored.get(name))
    if scored and other:
        return f"was trained with other settings than its report speaks of ({', '.join(other)})"
    if content.calibration is not None and report.uncalibrated is None:
        return "is calibrated, and its report is of a version that did not calibrate"
    if content.calibration is None and any(split.calibration is not None for split in report.splits):
        return "is not calibrated, and what its report speaks of is"
    return ""


def no_report(variety: str, horizon: int, left_aside: dict[str, str]) -> FailedError:
    """What to say where a series has no report at all."""
    damaged = "".join(f"; {family}: {why}" for family, why in left_aside.items())
    return FailedError(
        f"no walk-forward report of {variety} at horizon {horizon}{damaged}",
        f"first: ghtrader benchmark --model {family_names()[0]} --var {variety} --horizon {horizon}",
    )


def _rank(report: StoredReport) -> tuple[int, str, str]:
    days = report.context.days
    return len(days), days[-1].isoformat() if days else "", report.context.made_at
