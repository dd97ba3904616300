"""Judges whether what is played was among what a bundle was trained on: in sample, out of sample, or with hindsight.

Finding the bundles a run traded with is the business of who plays the days.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, time
from zoneinfo import ZoneInfo

from ghtrader_base.plain_str_enum import PlainStrEnum
from ghtrader_models.bundles.provenance import BundleContent

_SHANGHAI = ZoneInfo("Asia/Shanghai")
_DAY_ENDS = time(18)


class Sample(PlainStrEnum):
    """What a result says of a model's worth.

    OUT_OF_SAMPLE
        Everything the model learned from was known before.
    UNKNOWN
        The bundle does not say what it was trained on.
    HINDSIGHT
        The model learned from later days, though not from this one.
    IN_SAMPLE
        The model learned from what is played: the result says nothing of its worth.
    """

    OUT_OF_SAMPLE = "out of sample"
    UNKNOWN = "unknown"
    HINDSIGHT = "hindsight"
    IN_SAMPLE = "in sample"


@dataclass(frozen=True)
class SampleVerdict:
    """The verdict, and the sentence that says why."""

    sample: Sample
    reason: str


def judge_sample(content: BundleContent, bundle_id: str, day: date, first_ns: int) -> SampleVerdict:
    """Whether rows of a trading day were learned from.

    Parameters
    ----------
    content : BundleContent
        What the bundle was made of.
    bundle_id : str
        Its id, for the sentence.
    day : date
        The trading day that is played.
    first_ns : int
        When what is traded of it begins (UTC epoch ns); rows before it only warm the factors.
    """
    days, until_ns = [fact.day for fact in content.days], content.until_ns
    if not days:
        return SampleVerdict(Sample.UNKNOWN, f"bundle {bundle_id} names no day it was trained on")
    trained = f"bundle {bundle_id} was trained on {days[0]} to {days[-1]} ({len(days)} days)"
    if until_ns is not None:
        trained += f", up to {datetime.fromtimestamp(until_ns / 1e9, _SHANGHAI):%Y-%m-%d %H:%M:%S}"
        if until_ns <= first_ns:
            return SampleVerdict(Sample.OUT_OF_SAMPLE, f"{trained}; {day} is played from later on")
    if day in days:
        again = "train on earlier days (`train --end`), or play a later one"
        return SampleVerdict(Sample.IN_SAMPLE, f"{trained}, and {day} is among them: {again}")
    ends_ns = int(datetime.combine(day, _DAY_ENDS, _SHANGHAI).timestamp()) * 10**9
    if days[-1] > day and (until_ns is None or until_ns > ends_ns):
        return SampleVerdict(Sample.HINDSIGHT, f"{trained}, of which some are later than {day}")
    return SampleVerdict(Sample.OUT_OF_SAMPLE, f"{trained}; {day} is later")


def worst(verdicts: Iterable[SampleVerdict]) -> SampleVerdict | None:
    """The verdict that allows the least, the first of such; None where there is none."""
    order = list(Sample)
    return max(verdicts, key=lambda verdict: order.index(verdict.sample), default=None)
