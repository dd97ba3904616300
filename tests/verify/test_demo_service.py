"""The demo pointed by environment alone at a service it did not start: what a real account would meet."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ghtrader_exchange.client import ExchangeProcess
from ghtrader_exchange.world.scenario import Scenario
from tests.support.demos import run_demo

pytestmark = [pytest.mark.clock, pytest.mark.timeout(1200)]


def test_only_the_environment_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = Scenario(strength=2.0, snapshot_seconds=10.0)
    with ExchangeProcess(scenario, tmp_path / "exchange", speed=100.0, frozen=False) as exchange:
        for name, value in exchange.env.items():
            monkeypatch.setenv(name, value)
        assert os.environ["TQSDK_USER"]
        last = exchange.env["GHTRADER_EXCHANGE_LAST_DAY"]
        demo = run_demo(tmp_path / "home", "--service", "--end", last, "--for", "30")
        half = demo.report["service"]
        assert "simulated" not in demo.report and "oracle" not in half["models"]
        assert half["days"] == 10 and half["segments"] == 2 and half["last_day"] == last
        assert half["champion"]
        trading = half["trading"]
        assert trading["ticks"] > 100 and trading["tick_to_target_ms"]["count"] == trading["ticks"]
        assert trading["targets"] >= trading["ticks"]  # and some more: flat is asked for until it is so
        assert set(trading["positions"].values()) <= {0}
        fills = exchange.control.fills()
        assert len(fills) == trading["fills"]
        assert {fill.order_id for fill in fills} == {fill["order_id"] for fill in trading["fill_list"]}
