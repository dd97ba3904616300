"""This machine's clock beside the service's: what `status` tells of it, and where real trading is refused."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghtrader.cli import run
from ghtrader_base.errors import FailedError, RefusedError, UnreachableError
from ghtrader_base.settings import Settings, load_settings
from ghtrader_base.trading_enums import RunMode
from ghtrader_market.sources.service_clock import ClockState, ahead_of, read_service_clock
from ghtrader_runtime.accounts.live_gate import require_true_clock

pytestmark = pytest.mark.clock


@dataclass
class Service:
    """A login server whose clock stands `shift_s` from this machine's; None: it does not tell its time."""

    url: str
    shift_s: float | None = 0.0


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response_only(404)
            if told.shift_s is not None:
                self.send_header("Date", formatdate(time.time() + told.shift_s, usegmt=True))
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    told = Service(f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("TQ_AUTH_URL", told.url)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield told
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("shift_s", "warned", "refused"),
    [(0.0, False, False), (3.0, False, False), (-5.0, True, False), (60.0, True, True), (-31.0, True, True)],
)
def test_status_warns_and_real_trading_is_refused(
    home, service: Service, capfd: pytest.CaptureFixture[str], shift_s: float, warned: bool, refused: bool
) -> None:
    service.shift_s = shift_s
    settings = load_settings(home)
    assert run(["status", "--json"]) == 0
    clock = json.loads(capfd.readouterr().out)["clock"]
    assert clock["url"] == service.url and abs(clock["ahead_s"] + shift_s) < 1.5
    assert bool(clock["warning"]) is warned
    assert run(["status"]) == 0
    assert ("WARNING  this machine's clock is" in capfd.readouterr().out) is warned
    for mode, monitor_only in ((RunMode.LIVE, True), (RunMode.SIM, False), (RunMode.PAPER, False)):
        require_true_clock(settings, mode, monitor_only)
    if refused:
        with pytest.raises(RefusedError, match="ahead of" if shift_s < 0 else "behind") as caught:
            require_true_clock(settings, RunMode.LIVE, False)
        assert caught.value.exit_code == 3
    else:
        require_true_clock(settings, RunMode.LIVE, False)


def test_a_service_that_does_not_tell_opens_no_real_account(home, service: Service) -> None:
    service.shift_s = None
    with pytest.raises(FailedError, match="does not tell its time"):
        require_true_clock(load_settings(home), RunMode.LIVE, False)


def test_nobody_there_and_nothing_configured(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_service_clock(settings) == ClockState() and ClockState().warning == ""
    monkeypatch.setenv("TQ_AUTH_URL", "http://127.0.0.1:9")
    with pytest.raises(UnreachableError, match="no login service at"):
        read_service_clock(load_settings(settings.home))


@given(st.floats(0, 4e9), st.floats(0, 3), st.floats(-1e5, 1e5), st.floats(0, 1))
def test_the_difference_is_good_to_half_a_second_and_half_the_way(
    true_s: float, trip_s: float, ahead_s: float, share: float
) -> None:
    told_s = float(int(true_s + share * trip_s))
    found = ahead_of(true_s + ahead_s, true_s + trip_s + ahead_s, told_s)
    assert abs(found - ahead_s) <= 0.5 + trip_s / 2 + 1e-3


@pytest.mark.parametrize(("ahead_s", "warns"), [(4.4, False), (4.6, True), (-4.6, True), (0.0, False)])
def test_the_warning_begins_where_five_seconds_are_possible(ahead_s: float, warns: bool) -> None:
    assert bool(ClockState("http://x", ahead_s).warning) is warns
