"""Which days form one data set: most days win, odd ones are named with the reason, in any order of asking."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghtrader_models.bundles.left_out_days import LeftOutReason, describe_left_out
from ghtrader_models.datasets.day_selection import DayTraits, select_days, without_rows

FIVE = (("spread", "ask(1) - bid(1)"), ("depth_5", "bid_depth(5)"))
ONE = FIVE[:1]


def day(number: int, **other: object) -> DayTraits:
    plain = DayTraits(
        day=date(2025, 4, 1) + timedelta(number), levels=5, language=1, factors=FIVE,
        labels=("mid_move", 1), horizons=(10, 50),
    )  # fmt: skip
    return replace(plain, **other)


def reasons(days: list[DayTraits], horizon: int | None = 50) -> dict[int, str]:
    found = select_days(days, horizon)
    assert sorted([*found.kept, *(each.day for each in found.left_out)]) == sorted(each.day for each in days)
    return {(each.day - date(2025, 4, 1)).days: each.reason.value for each in found.left_out}


@pytest.mark.parametrize(
    ("odd", "reason", "told"),
    [
        ({"levels": 1, "factors": ONE}, "other_depth", "book of one level, the others of 5 levels"),
        ({"factors": ONE}, "other_factors", "another factor set: lacks 1 (depth_5)"),
        ({"factors": (*FIVE, ("mine", "mid()"))}, "other_factors", "another factor set: adds 1 (mine)"),
        ({"factors": (FIVE[0], ("depth_5", "ask_depth(5)"))}, "other_factors", "defines otherwise 1 (depth_5)"),
        ({"factors": FIVE[::-1]}, "other_factors", "another factor set: in another order"),
        ({"language": 0}, "other_factors", "version 0 of the factor language, the others 1"),
        ({"labels": ("smoothed", 1)}, "other_labels", "labels smoothed from 1 price ticks, the others mid_move"),
        ({"trading": False}, "no_trading_day", "the holiday list calls it a holiday"),
        ({"horizons": (10, 30)}, "horizon_not_built", "no labels at horizon 50, but at 10, 30"),
    ],
)
def test_one_odd_day_among_five_is_left_out_by_name(odd: dict[str, object], reason: str, told: str) -> None:
    days = [day(n, **(odd if n == 2 else {})) for n in range(5)]
    assert reasons(days) == {2: reason}
    (found,) = select_days(days, 50).left_out
    assert str(found).startswith("2025-04-03: ") and told in str(found)
    assert found.to_dict() == {"day": "2025-04-03", "reason": reason, "detail": found.detail}


def test_days_that_differ_in_nothing_their_rows_show_stay_together() -> None:
    """Other horizons than the wanted one, and levels that no factor reads."""
    days = [day(0, horizons=(50,)), day(1), day(2, horizons=(50, 200))]
    assert reasons(days) == {}
    assert reasons([day(0, factors=ONE), day(1, factors=ONE, levels=1)]) == {}
    assert reasons([day(0, horizons=())], None) == {}


def test_of_equally_large_groups_the_newest_day_decides() -> None:
    one = {"levels": 1, "factors": ONE}
    assert reasons([day(0), day(1), day(2, **one), day(3, **one)]) == {0: "other_depth", 1: "other_depth"}
    assert reasons([day(0, **one), day(1), day(2, **one), day(3)]) == {0: "other_depth", 2: "other_depth"}


def test_no_day_has_the_horizon_or_there_is_none() -> None:
    found = select_days([day(0), day(1)], 30)
    assert found.kept == () and {each.reason for each in found.left_out} == {LeftOutReason.HORIZON_NOT_BUILT}
    assert select_days([], 50).kept == ()


def test_many_left_out_days_are_described_in_a_line() -> None:
    days = [without_rows(date(2025, 4, n)) for n in range(1, 6)]
    assert describe_left_out(days, 2).startswith("2025-04-01: no row with")
    assert describe_left_out(days, 2).endswith("; and 3 more") and describe_left_out(days[:1]) == str(days[0])


@given(st.lists(st.sampled_from([0, 0, 0, 1, 2, 3]), min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_what_stays_belongs_together_and_is_the_most(kinds: list[int], random: object) -> None:
    variants = [{}, {"levels": 1, "factors": ONE}, {"labels": ("smoothed", 2)}, {"horizons": (10,)}]
    days = [day(n, **variants[kind]) for n, kind in enumerate(kinds)]
    found = select_days(days, 50)
    shuffled = list(days)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert select_days(shuffled, 50) == found
    by_day = {each.day: each for each in days}
    assert len({(by_day[kept].factors, by_day[kept].labels) for kept in found.kept}) <= 1
    sizes = [sum(kind == which for kind in kinds) for which in range(3)]
    assert len(found.kept) == max(sizes)
    assert {*found.kept}.isdisjoint(each.day for each in found.left_out)
    assert len(found.kept) + len(found.left_out) == len(days)
