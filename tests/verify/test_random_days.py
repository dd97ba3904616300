"""Many days at their worst: a benchmark and a paper account come to the same fills, money and lots."""

from __future__ import annotations

import pytest

from tests.support.paper_and_benchmark import check
from tests.support.random_days import random_day


@pytest.mark.parametrize("block", range(8))
def test_many_days_are_played_alike(settings, block) -> None:
    assert sum(check(settings, random_day(seed)) for seed in range(100 + block * 50, 150 + block * 50)) > 500
