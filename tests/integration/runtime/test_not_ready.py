"""A pair whose strategy never gets ready ends with a reason instead of waiting for ever."""

from __future__ import annotations

import os
import signal
from datetime import date

import pytest

from ghtrader_base.errors import FailedError
from ghtrader_base.settings import Settings
from ghtrader_base.trading_enums import RunMode
from ghtrader_runtime.run_options import GatewayOptions, ReplayOptions, StrategyOptions
from ghtrader_runtime.supervisor import supervisor
from tests.support.runtime_kit import write_day, write_tiny_bundle

CONTRACT, DAY = "SHFE.cu2502", date(2025, 1, 8)


def test_a_strategy_that_hangs_before_it_is_ready(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "READY_S", 1.0)
    write_day(settings, CONTRACT, DAY, 100)
    model = str(write_tiny_bundle(settings.models, enter=0.7, leave=0.2))
    replay = ReplayOptions(dataset="main_l5", key="KQ.m@SHFE.cu", day=str(DAY), from_ns=0, pace=0.0)
    pair = supervisor.Pair(
        settings,
        GatewayOptions(account="a", mode=RunMode.PAPER, symbol=CONTRACT, run_id="hangs", replay=replay),
        StrategyOptions(account="a", mode=RunMode.PAPER, symbol=CONTRACT, model=model),
    )
    strategy = pair.strategy.process.pid
    os.kill(strategy, signal.SIGSTOP)
    try:
        with pytest.raises(FailedError, match="not ready to trade within 1 s") as caught:
            pair.wait(None)
        assert str(pair.folder) in caught.value.hint
    finally:
        os.kill(strategy, signal.SIGKILL)
        pair.stop()
