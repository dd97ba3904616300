"""The unmodified TqSdk client against the simulated exchange: the data side."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from ghtrader_base.errors import PortInUseError, UnreachableError
from ghtrader_exchange.client import ExchangeProcess
from ghtrader_exchange.protocol.encoding import beijing_text
from ghtrader_exchange.world.scenario import Scenario
from ghtrader_exchange.world.tick_history import History
from ghtrader_market.reference.tick_schema import VALUE_COLUMNS
from ghtrader_market.reference.trading_calendar import bundled_calendar, midnight_ns
from tests.support.waiting import PATIENCE_S

pytestmark = pytest.mark.clock

CLIENTS = Path(__file__).parents[2] / "support" / "children"
SCENARIO = Scenario(start=date(2025, 4, 1), end=date(2025, 4, 8), snapshot_seconds=6.0)
"""Five days around a public holiday, with a roll."""


def run_client(script: str, exchange: ExchangeProcess, folder: Path, timeout_s: float) -> dict:
    """Run a client in its own process and HOME; what it told."""
    folder.mkdir()
    home = folder / "home"
    home.mkdir()
    environment = os.environ | exchange.env | {"HOME": str(home)}
    done = subprocess.run(
        [sys.executable, str(CLIENTS / script), str(folder)],
        env=environment,
        timeout=timeout_s,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return json.loads((folder / "told.json").read_text())


@pytest.fixture(scope="module")
def exchange(tmp_path_factory):
    with ExchangeProcess(SCENARIO, tmp_path_factory.mktemp("exchange")) as running:
        yield running


@pytest.fixture(scope="module")
def history(exchange):
    return History(SCENARIO, cache_dir=exchange.state_dir / "cache")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("client") / "data"


@pytest.fixture(scope="module")
def told(exchange, folder):
    return run_client("exchange_market_data.py", exchange, folder, 240)


@pytest.fixture(scope="module")
def symbol(history):
    return history.main_contract("cu", history.live_day)


def test_it_says_what_it_is(exchange, history):
    assert exchange.env["GHTRADER_EXCHANGE_FIRST_DAY"] == str(history.days[0])
    assert exchange.env["GHTRADER_EXCHANGE_LAST_DAY"] == str(history.days[-1])
    assert exchange.env["GHTRADER_EXCHANGE_LIVE_DAY"] == str(history.live_day)
    days = {path.stem for path in (exchange.truth_dir / "cu").glob("*.npz")}
    assert days == {str(day) for day in [*history.days, history.live_day]}
    assert (exchange.truth_dir / "scenario.toml").exists()


def test_a_wrong_password_is_refused_at_once(told):
    assert "401" in told["wrong_password"]


def test_contracts_and_main_contract(told, history, symbol):
    assert told["futures"] == list(history.contracts("cu"))
    assert told["main_series"] == ["KQ.m@SHFE.cu"]
    assert told["main"] == [symbol] and told["underlying"] == symbol and told["continuous_today"] == symbol


def test_holidays(told):
    days = [date(2025, 4, 1) + timedelta(days=n) for n in range(10)]
    assert told["trading_days"] == [str(day) for day in days if bundled_calendar().is_trading_day(day)]
    assert "2025-04-04" not in told["trading_days"]


def test_quotes_show_the_tape_at_the_clocks_now(told, history, symbol):
    tick = {name: column[0] for name, column in history.day(symbol, history.live_day).values.items()}
    quote = told["quote"]
    assert quote["datetime"] == beijing_text(history.day(symbol, history.live_day).datetime_ns[0])
    assert (quote["last_price"], quote["bid_price1"]) == (tick["last_price"], tick["bid_price1"])
    assert quote["bid_volume5"] == tick["bid_volume5"]
    settled = history.daily_bar(symbol, history.days[-1])
    assert (quote["pre_settlement"], quote["pre_open_interest"]) == (settled.settlement, settled.open_interest)
    assert quote["lower_limit"] < settled.settlement < quote["upper_limit"]
    assert (quote["price_tick"], quote["volume_multiple"]) == (10, 5)
    main = told["main_quote"]
    assert (main["last_price"], main["bid_price1"]) == (tick["last_price"], tick["bid_price1"])
    assert main["bid_price2"] == "nan"  # one level only


def same_rows(got: dict[str, np.ndarray], parts: list, names) -> None:
    assert np.array_equal(got["datetime"], np.concatenate([part.datetime_ns for part in parts]))
    assert np.array_equal(got["id"], got["id"][0] + np.arange(len(got["id"])))
    for name in names:
        assert np.array_equal(got[name], np.concatenate([part.values[name] for part in parts]), equal_nan=True), name


def test_downloaded_ticks_are_the_tape_to_the_last_digit(told, folder, history, symbol):
    got = dict(np.load(folder / "ticks0.npz"))
    assert got["id"][0] == 0
    same_rows(got, [history.day(symbol, day) for day in history.days], VALUE_COLUMNS)


def test_the_main_series_follows_the_main_contract_over_the_roll(told, folder, history):
    mains = [(day, contract) for day, contract in history.continuous("cu") if day != history.live_day]
    assert len({contract for _, contract in mains}) == 2
    got = dict(np.load(folder / "ticks1.npz"))
    assert "bid_price2" not in got
    same_rows(got, [history.day(contract, day) for day, contract in mains], VALUE_COLUMNS[:11])


def test_daily_bars_equal_the_history(told, history, symbol):
    expected = [
        [n, midnight_ns(bar.day), bar.open, bar.high, bar.low, bar.close, bar.volume, bar.open_interest]
        for n, bar in enumerate(history.daily_bars(symbol))
    ]
    assert told["daily"] == expected
    ids = told["minute_ids"]
    assert len(ids) == 30 and ids == [ids[0] + n for n in range(30)]


def test_live_ticks_at_speed_are_the_history_by_id(told, folder, history, symbol):
    rows = np.load(folder / "live.npz")["rows"]
    columns = dict(zip(told["live_columns"], rows.T, strict=True))
    assert len(rows) >= 2000 and told["at_speed_20"] >= 8
    day = history.day(symbol, history.live_day)
    first = history.first_id(symbol, history.live_day)
    places = columns["id"].astype(int) - first
    assert np.array_equal(places, 1 + np.arange(len(rows)))
    # TqSdk's serials hold times as float64
    assert np.array_equal(columns["datetime"], day.datetime_ns[places].astype(np.float64))
    for name in VALUE_COLUMNS:
        assert np.array_equal(columns[name], day.values[name][places]), name


def test_after_a_clean_close_the_data_stops_without_a_word(told):
    assert told["silent_after_clean_close"]


def test_time_cannot_be_set_back_and_nonsense_is_refused(exchange):
    now = exchange.control.clock().now_ns
    from ghtrader_base.errors import UsageError

    for change in ({"at_ns": now - 1}, {"speed": 0}, {"speed": "fast"}, {"frozen": "yes"}):
        with pytest.raises(UsageError):
            exchange.control.set_clock(**change)
    with pytest.raises(UsageError, match="unknown fault"):
        exchange.control.fault("earthquake")
    for wrong in ({"day": "soon"}, {"symbol": ""}, {"count": -1}):
        with pytest.raises(UsageError):
            exchange.control.fault("empty-day", **{"symbol": "SHFE.cu2505", "day": date(2025, 4, 2)} | wrong)


def test_a_port_in_use_is_said_by_name(exchange, tmp_path):
    port = int(exchange.control.url.split(":")[2].split("/")[0])
    with pytest.raises(PortInUseError, match=str(port)):
        ExchangeProcess(SCENARIO, tmp_path, port=port).start()


def test_it_stops_cleanly_and_then_nobody_answers(tmp_path):
    other = ExchangeProcess(SCENARIO.with_changes(end=SCENARIO.start), tmp_path).start()
    assert other.pid is not None
    control, process = other.control, other._process
    other.stop()
    assert process.returncode == 0 and other.pid is None
    assert (tmp_path / "exchange.log").read_text() == ""
    with pytest.raises(UnreachableError):
        control.clock()


def test_it_dies_with_its_parent(tmp_path):
    script = (
        "import os, sys; from datetime import date; from pathlib import Path\n"
        "from ghtrader_exchange.client import ExchangeProcess; from ghtrader_exchange.world.scenario import Scenario\n"
        "s = Scenario(start=date(2025, 4, 1), end=date(2025, 4, 1), snapshot_seconds=60.0)\n"
        "x = ExchangeProcess(s, Path(sys.argv[1])).start(); print(x.pid, flush=True); os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    child = int(done.stdout)
    for _ in range(100):
        if not _alive(child):
            return
        subprocess.run(["sleep", "0.05"], check=True)
    raise AssertionError("the exchange outlived its parent")


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
