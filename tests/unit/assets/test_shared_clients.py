"""Runs of one download share a client of the source, and know a calendar that one of them refreshed."""

from __future__ import annotations

from datetime import date
from types import SimpleNamespace
from typing import Any

import pytest

from ghtrader_assets.resources.resources import SourceResource, shared_clients
from ghtrader_assets.runs.execute import run_assets
from ghtrader_base.settings import Settings, load_settings
from ghtrader_market.reference.holiday_list import save_holidays
from ghtrader_market.reference.trading_calendar import load_calendar
from ghtrader_market.sources.tqsdk.source import TqSdkSource

made: list[str] = []


class Counted(SourceResource):
    """A source that notes when it is made and closed."""

    def create(self, settings: Settings) -> Any:
        name = f"source {len(made)}"
        made.append(name)
        return SimpleNamespace(name=name, close=lambda: made.append(f"{name} closed"))


@pytest.fixture(autouse=True)
def nothing_yet() -> None:
    made.clear()


def test_one_client_serves_a_block_and_ends_with_it(settings: Settings, tmp_path) -> None:
    other = load_settings(tmp_path / "other")
    with pytest.raises(ZeroDivisionError), shared_clients():
        for _ in range(3):
            with shared_clients(), Counted().opened(settings) as source:
                assert source.name == "source 0"
        with Counted().opened(other) as source:
            assert source.name == "source 1", "another home"
        assert made == ["source 0", "source 1"]
        raise ZeroDivisionError
    assert made[2:] == ["source 0 closed", "source 1 closed"]
    for _ in range(2):
        with Counted().opened(settings):
            pass
    assert len(made) == 8, "outside of a block each run has its own"


def test_a_shared_client_knows_the_calendar_that_was_refreshed_meanwhile(settings: Settings) -> None:
    class Real(SourceResource):
        def create(self, settings: Settings) -> TqSdkSource:
            return TqSdkSource(settings)

    day = date(2025, 1, 6)
    with shared_clients():
        with Real().opened(settings) as source:
            assert source._calendar.is_trading_day(day)
        save_holidays(settings.data, [*load_calendar(settings).holidays, day], "a test")
        with Real().opened(settings) as source:
            assert not source._calendar.is_trading_day(day)


@pytest.mark.clock
def test_runs_of_assets_share_it(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an asset's body opens inside Dagster is the block's."""
    monkeypatch.setenv("TQ_CHINESE_HOLIDAY_URL", "http://127.0.0.1:9/nobody")
    create = SourceResource.create

    def counted(self: SourceResource, settings: Settings) -> Any:
        made.append("source")
        return create(self, settings)

    monkeypatch.setattr(SourceResource, "create", counted)
    with shared_clients():
        for _ in range(2):
            run_assets(load_settings(settings.home), "trading_calendar")
    assert made == ["source"]
