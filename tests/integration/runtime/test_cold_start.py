"""A start in mid-session on the unmodified TqSdk: with the right to history the whole day so far, without it cold."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from ghtrader_exchange.client import ExchangeProcess
from ghtrader_exchange.world.scenario import Scenario
from ghtrader_market.reference.trading_calendar import bundled_calendar
from tests.support.waiting import PATIENCE_S

pytestmark = pytest.mark.clock

SCENARIO = Scenario(start=date(2025, 4, 9), end=date(2025, 4, 9), snapshot_seconds=6.0, contracts=2)
LIVE = date(2025, 4, 10)
START = """
import json, sys, time
from ghtrader_base.settings import load_settings
from ghtrader_base.trading_enums import RunMode
from ghtrader_exchange.client import Control
from ghtrader_runtime.brokers import tqsdk_feed
from ghtrader_runtime.brokers.tqsdk import TqSdkBroker
from ghtrader_runtime.brokers.tqsdk_isolation import isolate_home

settings, control = load_settings(), Control(sys.argv[1])
isolate_home(settings, "test")
tqsdk_feed.HISTORY_ROWS = 1000  # a day of 10,000 rows takes a test long
for fault in ("withhold-history", "clear"):
    control.fault(fault)
    broker = TqSdkBroker(settings, RunMode.PAPER)
    broker.open(sys.argv[2])
    rows = broker.history()
    ids = [row.id for row in rows]
    told = [len(ids), ids[-1] - ids[0] + 1, rows[0].datetime_ns, rows[-1].datetime_ns, broker.cold_note]
    print(json.dumps(told), flush=True)
    if fault == "clear":
        current = broker.is_current()  # the clock stands, as in a market that is locked at its limit
        control.fault("close-md")
        control.set_clock(speed=50.0, frozen=False)
        until = time.monotonic() + 3.0  # the line is there again, and brings nothing more
        while time.monotonic() < until:
            broker.pump(0.2, False)
        print(json.dumps([current, broker.is_current()]), flush=True)
    broker.close()
"""


def test_without_the_right_to_history_it_starts_with_the_last_tick_and_says_so(home: Path, tmp_path: Path) -> None:
    night, *_, afternoon = bundled_calendar().sessions("cu", LIVE)
    with ExchangeProcess(SCENARIO, tmp_path / "exchange") as exchange:
        exchange.control.set_clock(at_ns=afternoon[0])
        environment = os.environ | exchange.env | {"GHTRADER_HOME": str(home)}
        command = [sys.executable, "-c", START, exchange.control.url, "SHFE.cu2506"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    cold, whole, current = (json.loads(line) for line in done.stdout.splitlines()[-3:])
    assert cold[0] == 1 and "tq_dl" in cold[4] and "factors warm up live" in cold[4]
    assert whole[0] == whole[1] > 2_000 and whole[4] == ""
    assert whole[2] == night[0] and whole[3] == cold[3]
    assert current == [True, False], "a market that says nothing, then a subscription that is dead"
