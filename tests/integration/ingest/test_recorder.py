"""The recorder on the unmodified TqSdk client: through broken lines, silence, SIGTERM and kill -9, a recorded day is
the downloaded one row by row, and what a kill left out the next download brings.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from ghtrader.cli import run
from ghtrader_base.processes import list_processes
from ghtrader_base.settings import Settings, load_settings
from ghtrader_exchange.client import ExchangeProcess
from ghtrader_exchange.world.scenario import Scenario
from ghtrader_exchange.world.tick_history import History
from ghtrader_market.ingest.download import download
from ghtrader_market.inventory.contract_catalog import refresh
from ghtrader_market.inventory.depth_start import l5_start, probe_l5_start
from ghtrader_market.recorder.day_writer import RecordedDays
from ghtrader_market.recorder.row_log import RowLog, journal_days, journal_path
from ghtrader_market.reference.tick_schema import VALUE_COLUMNS, values_matrix
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.sources.tqsdk.source import TqSdkSource
from ghtrader_market.stores.lake.lake import Lake
from tests.support import waiting
from tests.support.machine_stalls import Stalls

pytestmark = pytest.mark.clock

CALENDAR = bundled_calendar()
SCENARIO = Scenario(start=date(2025, 4, 8), end=date(2025, 4, 9), snapshot_seconds=10.0, contracts=2)
LIVE = date(2025, 4, 10)
SPEED = 150.0


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExchangeProcess]:
    with ExchangeProcess(SCENARIO, tmp_path_factory.mktemp("exchange"), speed=SPEED) as found:
        yield found


@pytest.fixture
def settings(exchange: ExchangeProcess, home: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, value in exchange.env.items():
        monkeypatch.setenv(name, value)
    return load_settings()


started: list[subprocess.Popen] = []
logs: list[Path] = []


@pytest.fixture(autouse=True)
def nobody_goes_on() -> Iterator[None]:
    """What a failed test has not ended is ended."""
    yield
    for process in started:
        process.kill()
        process.communicate(timeout=waiting.PATIENCE_S)
    started.clear()
    logs.clear()


class Recording:
    """`ghtrader record` as a process of its own."""

    def __init__(self, log: Path, *arguments: str) -> None:
        self.log = log
        command = [sys.executable, "-m", "ghtrader", "record", "--json", "--flush-seconds", "0.3", *arguments]
        with log.open("ab") as err:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=err, text=True)
        started.append(self.process)
        logs.append(log)

    def count(self, text: str) -> int:
        return self.log.read_text().count(text)

    def said(self, text: str, times: int = 1) -> bool:
        return self.count(text) >= times

    def stop(self) -> dict:
        self.process.send_signal(signal.SIGTERM)
        out, _ = self.process.communicate(timeout=waiting.PATIENCE_S)
        assert self.process.returncode == 0, self.log.read_text()
        return json.loads(out)

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.communicate(timeout=waiting.PATIENCE_S)


def until(holds: Callable[[], object]) -> None:
    waiting.until(holds, lambda: "\n".join(["it", *(log.read_text() for log in logs)]))


def journalled(settings: Settings, symbol: str) -> np.ndarray:
    """Times of the live day's rows that a kill could not take, int64[n] in ns."""
    if LIVE not in journal_days(settings.data, symbol):
        return np.zeros(0, np.int64)
    journal = RowLog(journal_path(settings.data, symbol, LIVE))
    rows = journal.read()
    journal.close()
    return rows["datetime_ns"].to_numpy()


def on_disk(settings: Settings, symbol: str) -> int:
    return len(journalled(settings, symbol))


def test_a_recorded_day_is_the_downloaded_one(exchange: ExchangeProcess, settings: Settings, tmp_path: Path) -> None:
    history, lake = History(SCENARIO), Lake(settings.data)
    a, b = history.contracts("cu")
    printed = {symbol: history.day(symbol, LIVE) for symbol in (a, b)}
    whole = len(printed[a].datetime_ns)
    control = exchange.control

    first = Recording(tmp_path / "first.log", "--symbols", f"{a},{b}", "--stale-seconds", "2")
    until(lambda: first.said("recording"))
    assert [info.kind for info in list_processes(settings)] == ["record"]
    control.set_clock(frozen=False)
    until(lambda: on_disk(settings, b) > 20)

    # The line is closed politely, after which a TqSdk that never lost one hears nothing for ever. Then it breaks, and
    # TqSdk may connect again at once or be too slow for the recorder; had it come first, TqSdk would hear after both.
    control.fault("close-md")
    until(lambda: first.said("the service has newer ones") and first.said("recording", 2))
    after = on_disk(settings, a)
    until(lambda: on_disk(settings, a) > after)
    control.fault("abort-md")
    before = on_disk(settings, a)
    until(lambda: on_disk(settings, a) > before + 60)

    # Killed: nothing is missing but what came within the last flush, and its TqSdk is gone as well.
    with Stalls() as stalls:
        rows = on_disk(settings, b)
        until(lambda: on_disk(settings, b) > rows)
        market_ns = control.clock().now_ns
        first.kill()
    control.set_clock(frozen=True)
    lost_s = (market_ns - int(printed[b].datetime_ns[on_disk(settings, b) - 1])) / 1e9 / SPEED
    assert lost_s <= 0.3 + 2.5 + stalls.seconds, f"{lost_s:.2f} s, {stalls.seconds:.2f} of them the machine's"
    until(lambda: not list((settings.home / "tmp").glob("tqsdk-*/recorder.log")))
    assert lake.days("ticks", a) == []

    # Only one of the two goes on: after which row, its journal says. Then a clean stop.
    second = Recording(tmp_path / "second.log", "--symbols", a)
    until(lambda: second.said("recording"))
    control.set_clock(frozen=False)
    rows = on_disk(settings, a)
    until(lambda: on_disk(settings, a) > rows + 20)
    control.set_clock(frozen=True)
    report = second.stop()
    (day,) = report["days"]
    assert (day["state"], day["missed"], report["missed"]) == ("unfinished", 0, 0)
    assert journal_days(settings.data, a) == []
    so_far = lake.read_day("ticks", a, LIVE)
    assert day["rows"] == so_far.num_rows < whole
    np.testing.assert_array_equal(so_far["datetime_ns"].to_numpy(), printed[a].datetime_ns[: so_far.num_rows])

    # The next start goes on from the lake's rows, to the end of the day; a series too short for the gap is mended
    # from history.
    control.set_clock(at_ns=int(printed[a].datetime_ns[-60]), frozen=True)
    script = (
        "import signal, threading\n"
        "from ghtrader_base.settings import load_settings\n"
        "from ghtrader_market.recorder.recorder import Recorder\n"
        "stop = threading.Event()\n"
        "signal.signal(signal.SIGTERM, lambda *_: stop.set())\n"
        f"recorder = Recorder(load_settings(), ['{a}'], series_rows=50, tell=lambda t: print(t, flush=True))\n"
        "print(recorder.run(stop, 300.0).to_json())\n"
    )
    third = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    started.append(third)
    assert third.stdout is not None and "recording" in third.stdout.readline()
    control.set_clock(frozen=False, speed=1000.0)
    until(lambda: printed[a].datetime_ns[-1] in journalled(settings, a))
    third.send_signal(signal.SIGTERM)
    said, _ = third.communicate(timeout=waiting.PATIENCE_S)
    assert third.returncode == 0 and f"{whole} rows in the lake (ended)" in said and "'missed': 0" in said, said
    recorded = lake.manifest("ticks", a, LIVE)
    assert (recorded.source, recorded.rows, recorded.levels) == ("recorded", whole, 5)
    table = lake.read_day("ticks", a, LIVE)
    for row, name in enumerate(VALUE_COLUMNS):
        np.testing.assert_array_equal(values_matrix(table)[row], np.asarray(printed[a].values[name], float), name)

    # A download has the same rows, replaces what was recorded, and heals what the kill left.
    over_ns = CALENDAR.sessions("cu", LIVE)[-1][1] + 10**9
    if control.clock().now_ns < over_ns:
        control.set_clock(at_ns=over_ns)
    with TqSdkSource(settings) as source:
        download(source, lake, CALENDAR, [a, b], LIVE, LIVE, run_id="r")
    healed = {symbol: lake.manifest("ticks", symbol, LIVE) for symbol in (a, b)}
    assert {manifest.source for manifest in healed.values()} == {"tqsdk"}
    assert healed[a].content_hash == recorded.content_hash and healed[a].files == recorded.files
    assert healed[a].ticks.replaced.source == "recorded"
    assert healed[b].rows == len(printed[b].datetime_ns)
    assert journal_days(settings.data, b) == [LIVE]
    with RecordedDays(settings) as days:  # what the killed one left is not mixed into it
        days.begin(b)
        days.seal_all()
    assert days.sealed[b, LIVE].state == "kept as tqsdk has it" and journal_days(settings.data, b) == []


@pytest.mark.verify
@pytest.mark.sample(1, of="live processes through faults")
def test_a_silent_market_is_asked_about_and_a_dead_line_found_when_it_speaks_again(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a market locked at its limit; half an hour of that is in `tests/unit/market/recorder/test_silence.py`."""
    scenario = SCENARIO.with_changes(end=SCENARIO.start)
    with ExchangeProcess(scenario, tmp_path / "exchange", speed=SPEED) as exchange:
        for name, value in exchange.env.items():
            monkeypatch.setenv(name, value)
        (symbol, *_), control, settings = History(scenario).contracts("cu"), exchange.control, load_settings()
        recording = Recording(tmp_path / "locked.log", "--symbols", symbol, "--stale-seconds", "2")
        until(lambda: recording.said("recording"))
        control.set_clock(frozen=False)
        until(lambda: list((settings.data / "recording").rglob(f"*{symbol}*")))
        control.set_clock(frozen=True)
        until(lambda: recording.said("the market is silent"))
        restarts = recording.count("starting the client again")  # a machine that was slow until here
        until(lambda: recording.said("the market is silent", 3))
        assert recording.count("starting the client again") == restarts, recording.log.read_text()
        found = recording.count("the service has newer ones")
        control.fault("close-md")
        control.set_clock(frozen=False)
        until(lambda: recording.said("the service has newer ones", found + 1))
        until(lambda: recording.said("recording", restarts + 2))
        control.set_clock(frozen=True)
        report = recording.stop()
    assert report["restarts"] > restarts and report["missed"] == 0 and report["rows"] > 0


def test_the_catalog_from_the_service(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    lake = Lake(settings.data)
    with TqSdkSource(settings) as source:
        snapshot = refresh(source, lake, "cu")
        assert {info.listed for info in snapshot.contracts} == {SCENARIO.start} and len(snapshot.contracts) == 2
        assert snapshot.finished in (SCENARIO.end, LIVE)
        symbol, other = sorted(info.symbol for info in snapshot.contracts)
        start = probe_l5_start(settings, source, lake, "cu", lambda line: None)
        assert (start.day, start.how) == (SCENARIO.start, "probe") and l5_start(settings, "cu") == SCENARIO.start
        download(source, lake, CALENDAR, [symbol], SCENARIO.start, snapshot.finished)
    assert run(["data", "contracts", "--var", "cu", "--json"]) == 0  # asked a moment ago: not asked again
    rows = {row["symbol"]: row for row in json.loads(capsys.readouterr().out)["contracts"]}
    assert (rows[symbol]["state"], rows[symbol]["listed"]) == ("complete", str(SCENARIO.start))
    assert rows[other]["state"] == rows["SHFE.cu1909"]["state"] == "not-downloaded"


def test_a_symbol_nobody_lists_is_refused(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["record", "--symbols", "SHFE.cu2511", "--for", "1"]) == 2
    assert "listed now" in capsys.readouterr().err
