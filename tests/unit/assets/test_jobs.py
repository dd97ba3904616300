"""What the daily update is told to refresh, and how days become ranges."""

from datetime import date

import pytest

from ghtrader_assets.flows import contiguous, dataset_days, require_finished_days
from ghtrader_assets.jobs import daily_targets
from ghtrader_base.errors import ConfigError, FailedError, UsageError


def test_targets():
    assert daily_targets("SHFE:cu, SHFE:au,") == ["cu", "au"]
    assert daily_targets("ag") == ["ag"]
    for wrong in ("", "CFFEX:cu"):
        with pytest.raises(ConfigError):
            daily_targets(wrong)
    with pytest.raises(UsageError):
        daily_targets("SHFE:zz")


def test_days_without_a_gap_are_one_range():
    days = [date(2025, 4, 3), date(2025, 4, 7), date(2025, 4, 8), date(2025, 4, 10)]
    assert contiguous(days) == [(date(2025, 4, 3), date(2025, 4, 8)), (date(2025, 4, 10), date(2025, 4, 10))]
    assert contiguous([]) == []


def test_days_outside_the_pipeline_are_refused(settings):
    with pytest.raises(UsageError, match="leaves the days"):
        require_finished_days(settings, date(2019, 1, 2), date(2019, 1, 4))
    with pytest.raises(FailedError, match="main-l5|main_l5"):
        dataset_days(settings, "cu", None, None)
