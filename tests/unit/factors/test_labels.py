"""Labels against a definition a child could follow, and what they may never see."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghtrader_base.errors import UsageError
from ghtrader_models.labels import LabelSpec, event_labels


def brute(half_ticks: list[int | None], horizon: int, threshold: int) -> list[int]:
    labels = []
    for now, start in enumerate(half_ticks):
        end = half_ticks[now + horizon] if now + horizon < len(half_ticks) else None
        if start is None or end is None:
            labels.append(-1)
        else:
            labels.append(2 if end - start >= 2 * threshold else 0 if start - end >= 2 * threshold else 1)
    return labels


mids = st.lists(st.one_of(st.none(), st.integers(27_000, 27_020)), max_size=60)
ticks = st.sampled_from([0.02, 0.2, 0.05, 1.0, 10.0])


@given(mids, st.integers(1, 12), st.integers(1, 3), ticks)
@settings(max_examples=300, deadline=None)
def test_equal_to_brute_force(half, horizon, threshold, price_tick):
    mid = np.array([np.nan if h is None else h * price_tick / 2 for h in half], np.float64)
    assert event_labels(mid, horizon, threshold, price_tick=price_tick).tolist() == brute(half, horizon, threshold)


@given(mids.filter(lambda half: len(half) > 5), st.integers(1, 5), st.data())
@settings(max_examples=100, deadline=None)
def test_nothing_after_the_horizon_matters(half, horizon, data):
    mid = np.array([np.nan if h is None else h / 2 for h in half], np.float64)
    cut = data.draw(st.integers(0, len(half) - horizon - 1))
    changed = mid.copy()
    changed[cut + horizon + 1 :] = data.draw(st.integers(26_000, 28_000)) / 2
    before = event_labels(mid, horizon, 1, price_tick=1.0)
    after = event_labels(changed, horizon, 1, price_tick=1.0)
    assert before[: cut + 1].tolist() == after[: cut + 1].tolist()


def test_a_move_of_exactly_the_threshold_counts_whatever_the_rounding():
    # 280.02 + 0.02 in float64 is not exactly 280.04, and the label must not care
    mid = np.array([280.02 + 0.02 * k for k in range(200)])
    assert set(event_labels(mid, 1, 1, price_tick=0.02)[:-1].tolist()) == {2}
    assert set(event_labels(mid, 1, 2, price_tick=0.02)[:-1].tolist()) == {1}


def test_one_sided_book_and_the_days_end_have_no_label():
    mid = np.array([1.0, np.nan, 2.0, 2.0, 3.0])
    assert event_labels(mid, 1, 1, price_tick=1.0).tolist() == [-1, -1, 1, 2, -1]
    assert event_labels(mid, 5, 1, price_tick=1.0).tolist() == [-1] * 5
    assert event_labels(np.empty(0), 1, 1, price_tick=1.0).tolist() == []


def test_spec_goes_through_json_and_has_a_hash_of_its_own():
    spec = LabelSpec()
    assert LabelSpec.from_spec(spec.spec()) == spec
    assert spec.columns == ("label_10", "label_50", "label_200")
    assert spec.spec_hash != LabelSpec(threshold_ticks=2).spec_hash


@pytest.mark.parametrize(
    "bad",
    [
        {"horizons": ()},
        {"horizons": (50, 10)},
        {"horizons": (10, 10)},
        {"horizons": (0,)},
        {"horizons": (1.5,)},
        {"threshold_ticks": 0},
        {"threshold_ticks": 0.5},
        {"definition": "smoothed"},
    ],
)
def test_nonsense_is_refused(bad):
    with pytest.raises(UsageError):
        LabelSpec(**bad)


def test_a_document_that_is_no_label_spec_is_refused():
    with pytest.raises(UsageError):
        LabelSpec.from_spec({"horizons": [10]})
