"""Labels against a definition a child could follow, and what they may never see."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghtrader_base.errors import UsageError
from ghtrader_market.reference.varieties import FeeRates
from ghtrader_models.labels.labels import DEFINITIONS, LabelSpec, compute_labels, event_labels
from tests.support.examples import examples


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
@settings(max_examples=examples(300), deadline=None)
def test_equal_to_brute_force(half, horizon, threshold, price_tick):
    mid = np.array([np.nan if h is None else h * price_tick / 2 for h in half], np.float64)
    assert event_labels(mid, horizon, threshold, price_tick=price_tick).tolist() == brute(half, horizon, threshold)


@given(mids.filter(lambda half: len(half) > 5), st.integers(1, 5), st.data())
@settings(max_examples=examples(100), deadline=None)
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
    assert LabelSpec.from_dict(spec.to_dict()) == spec
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
        {"threshold_ticks": True},
        {"threshold_ticks": float("nan"), "definition": "smoothed"},
        {"threshold_ticks": 0, "definition": "smoothed"},
        {"threshold_ticks": -0.5, "definition": "cost_aware"},
        {"definition": "tomorrow"},
    ],
)
def test_nonsense_is_refused(bad):
    with pytest.raises(UsageError):
        LabelSpec(**bad)


def test_a_document_that_is_no_label_spec_is_refused():
    with pytest.raises(UsageError):
        LabelSpec.from_dict({"horizons": [10]})


FEES, MULTIPLIER = FeeRates(open_ratio=5e-5, open_lot=10.0, close_today_ratio=1e-4, close_today_lot=2.0), 5


def one_label(spec: LabelSpec, horizon: int, bid: list, ask: list, now: int, tick: float) -> int:
    """The label of one row as its definition reads, in plain Python; prices in whole ticks, None where unknown."""
    mid = [None if b is None or a is None else b + a for b, a in zip(bid, ask, strict=True)]  # half-ticks
    later, k = now + horizon, spec.threshold_ticks
    if later >= len(mid):
        return -1
    if spec.definition == "cost_aware":
        if None in (bid[now], ask[now], bid[later], ask[later]):
            return -1
        paid = (FEES.open_lot + FEES.close_today_lot) / MULTIPLIER / tick
        bought = bid[later] - ask[now] - FEES.open_ratio * ask[now] - FEES.close_today_ratio * bid[later] - paid
        sold = bid[now] - ask[later] - FEES.open_ratio * bid[now] - FEES.close_today_ratio * ask[later] - paid
        return 1 + (bought > k) - (sold > k)
    if spec.definition == "mid_move":
        after, before = [mid[later]], [mid[now]]
    else:
        after = mid[now + 1 : later + 1]
        before = mid[max(0, now - horizon + 1) : now + 1] if spec.definition == "smoothed" else [mid[now]]
        if spec.definition == "smoothed" and len(before) < horizon:
            return -1
    if None in after or None in before:
        return -1
    move = sum(after) / len(after) - sum(before) / len(before)
    return 1 + (move >= 2 * k) - (move <= -2 * k)


@st.composite
def tapes(draw, longest=40):
    """bid, ask in whole ticks (None where a side is empty) and the day of each row, days as they come."""
    sizes = draw(st.lists(st.integers(1, 15), min_size=1, max_size=4))
    rows = min(sum(sizes), longest)
    day = np.repeat(np.arange(len(sizes)), sizes)[:rows]
    side = st.one_of(st.integers(7000, 7006), st.integers(7000, 7006), st.none())
    bid = draw(st.lists(side, min_size=rows, max_size=rows))
    spread = draw(st.lists(st.integers(1, 3), min_size=rows, max_size=rows))
    return bid, [None if b is None else b + s for b, s in zip(bid, spread, strict=True)], day


def prices(side: list, tick: float) -> np.ndarray:
    return np.array([np.nan if p is None else p * tick for p in side], np.float64)


def label(spec: LabelSpec, bid: list, ask: list, day: np.ndarray, tick: float) -> np.ndarray:
    return compute_labels(
        spec, prices(bid, tick), prices(ask, tick), price_tick=tick, fees=FEES, multiplier=MULTIPLIER, group=day
    )


specs = st.builds(
    LabelSpec.named,
    st.sampled_from(sorted(DEFINITIONS)),
    st.sets(st.integers(1, 9), min_size=1, max_size=3).map(lambda found: tuple(sorted(found))),
)


@given(tapes(), specs, ticks)
@settings(max_examples=examples(300), deadline=None)
def test_each_definition_is_what_it_says_and_ends_with_its_day(tape, spec, tick):
    bid, ask, day = tape
    found = label(spec, bid, ask, day, tick)
    for row, horizon in zip(found, spec.horizons, strict=True):
        expected = []
        for one in np.unique(day):
            rows = np.flatnonzero(day == one)
            a, b = rows[0], rows[-1] + 1
            expected += [one_label(spec, horizon, bid[a:b], ask[a:b], t, tick) for t in range(b - a)]
        assert row.tolist() == expected


@given(tapes(), specs, st.data())
@settings(max_examples=examples(300), deadline=None)
def test_ticks_after_the_horizon_and_of_other_days_change_nothing(tape, spec, data):
    bid, ask, day = tape
    now = data.draw(st.integers(0, len(bid) - 1))
    before = label(spec, bid, ask, day, 10.0)
    for row, horizon in enumerate(spec.horizons):
        spared = {t for t in range(now - horizon + 1, now + horizon + 1) if 0 <= t < len(bid) and day[t] == day[now]}
        shift = data.draw(st.integers(-50, 50))
        changed = [[p if p is None or t in spared else p + shift for t, p in enumerate(side)] for side in (bid, ask)]
        assert label(spec, *changed, day, 10.0)[row, now] == before[row, now]


def test_the_last_rows_of_every_run_have_no_label_whatever_the_definition():
    bid = np.arange(40) * 10.0 + 70_000
    for name in DEFINITIONS:
        found = compute_labels(
            LabelSpec.named(name, (3, 10)), bid, bid + 10, price_tick=10.0, fees=FEES, multiplier=5,
            group=np.repeat([7, 3, 7], [20, 15, 5]),
        )  # fmt: skip
        for row, horizon in zip(found, (3, 10), strict=True):
            for a, b in ((0, 20), (20, 35), (35, 40)):
                assert (row[max(a, b - horizon) : b] == -1).all()
                if b - a >= 2 * horizon:
                    assert (row[a + horizon : b - horizon] >= 0).all()


def test_a_cost_aware_label_wants_more_than_spread_and_fees():
    # au: 10 CNY to open, nothing to close today, 1000 units a lot: a lot costs half a tick of 0.02
    fees = FeeRates(open_lot=10.0)
    bid = np.array([500.00, 500.02, 500.04])
    options = {"price_tick": 0.02, "fees": fees, "multiplier": 1000}
    for threshold, expected in ((0, 2), (0.49, 2), (0.5, 1)):
        spec = LabelSpec((2,), threshold, "cost_aware")
        assert compute_labels(spec, bid, bid + 0.02, **options)[0, 0] == expected
    assert compute_labels(LabelSpec((1,), 0, "cost_aware"), bid, bid + 0.02, **options)[0].tolist() == [1, 1, -1]


def test_the_name_chooses_the_threshold_and_a_label_that_needs_fees_says_so():
    assert LabelSpec.named("mid_move") == LabelSpec()
    assert LabelSpec.named("smoothed", (10,)).to_dict() == {
        "definition": "smoothed", "horizons": [10], "threshold_ticks": 0.5,
    }  # fmt: skip
    assert LabelSpec((1,), 1.0, "smoothed").spec_hash == LabelSpec((1,), 1, "smoothed").spec_hash
    quotes = np.full(3, 100.0)
    with pytest.raises(UsageError, match="fees"):
        compute_labels(LabelSpec.named("cost_aware"), quotes, quotes + 1, price_tick=1.0)
    with pytest.raises(UsageError, match="alike"):
        compute_labels(LabelSpec(), quotes, quotes[:2], price_tick=1.0)
