"""Whether a day that is played was among what a bundle was trained on."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import msgspec
import pytest

from ghtrader_models.bundles.provenance import BundleContent, DayFacts
from ghtrader_models.bundles.sample_check import Sample, SampleVerdict, judge_sample, worst

DAYS = [date(2025, 1, day) for day in (6, 7, 8)]


def at(day: int, hour: int) -> int:
    """An hour of January 2025 in Shanghai, UTC epoch ns."""
    return int((datetime(2025, 1, day, hour, tzinfo=UTC) - timedelta(hours=8)).timestamp()) * 10**9


def content(until_ns: int | None = None, days: list[date] = DAYS) -> BundleContent:
    facts = tuple(
        DayFacts(day=day, contract="SHFE.cu2502", segment_id=0, price_tick=10.0, multiplier=5, rows=9, features_hash="",
                 labels_hash="") for day in days
    )  # fmt: skip
    return BundleContent(
        symbol="KQ.m@SHFE.cu", horizon=50, price_tick=10.0, levels=5, days=facts, until_ns=until_ns, seed=0, config={}
    )


@pytest.mark.parametrize(
    ("day", "first", "until", "expected"),
    [
        (9, at(9, 9), None, Sample.OUT_OF_SAMPLE),
        (8, at(8, 9), None, Sample.IN_SAMPLE),
        (6, at(6, 9), None, Sample.IN_SAMPLE),
        (3, at(3, 9), None, Sample.HINDSIGHT),
        (8, at(8, 14), at(8, 14), Sample.OUT_OF_SAMPLE),  # trained up to there, played from there
        (8, at(8, 13), at(8, 14), Sample.IN_SAMPLE),
        (8, at(7, 21), at(8, 14), Sample.IN_SAMPLE),  # the night before belongs to the day
        (7, at(7, 9), at(8, 14), Sample.IN_SAMPLE),
        (9, at(9, 9), at(8, 14), Sample.OUT_OF_SAMPLE),
        (3, at(3, 9), at(8, 14), Sample.HINDSIGHT),
        (3, at(3, 9), at(3, 14), Sample.OUT_OF_SAMPLE),  # nothing of the later days was learned
    ],
)
def test_a_day_is_judged_by_what_was_learned(day: int, first: int, until: int | None, expected: Sample) -> None:
    found = judge_sample(content(until), "abc", date(2025, 1, day), first)
    assert found.sample is expected, found.reason
    assert "bundle abc was trained on 2025-01-06 to 2025-01-08 (3 days)" in found.reason
    assert f"2025-01-{day:02d}" in found.reason
    if expected is Sample.IN_SAMPLE:
        assert "train --end" in found.reason
    assert msgspec.json.decode(msgspec.json.encode(found), type=SampleVerdict) == found


def test_a_gap_in_the_training_days_is_hindsight() -> None:
    gap = content(days=[date(2025, 1, 6), date(2025, 1, 8)])
    assert judge_sample(gap, "abc", date(2025, 1, 7), at(7, 9)).sample is Sample.HINDSIGHT


def test_the_worst_of_several_bundles_counts() -> None:
    verdicts = [SampleVerdict(sample, sample.value) for sample in Sample]
    assert worst(verdicts) == worst(reversed(verdicts)) == SampleVerdict(Sample.IN_SAMPLE, "in sample")
    assert worst([]) is None
    assert judge_sample(content(days=[]), "abc", DAYS[0], at(6, 9)).sample is Sample.UNKNOWN
