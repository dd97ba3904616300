"""What lookers-on see of a real run: the state file, metrics, the monitor; and that a silence shows within 2 s."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from pathlib import Path

import pytest

from ghtrader_base.errors import UnreachableError
from ghtrader_base.processes import list_processes
from ghtrader_base.settings import Settings, load_settings
from ghtrader_runtime.accounts.account import account_ref
from ghtrader_runtime.accounts.kill_switch import KillSwitch
from ghtrader_runtime.bus.endpoints import endpoints
from ghtrader_runtime.operator_views.gateway_view import LiveView, choose_gateway, one_picture
from ghtrader_runtime.operator_views.monitor_app import KillScreen, Monitor
from ghtrader_runtime.replay.recorded_days import paper_day
from tests.support.machine_stalls import Stalls
from tests.support.other_users import open_to_others
from tests.support.runtime_kit import write_day, write_tiny_bundle
from tests.support.waiting import PATIENCE_S

CONTRACT, DAY, ROWS = "SHFE.cu2502", date(2025, 1, 8), 15_000
TICKS = 'ghtrader_ticks_total{account="paper",mode="paper"}'


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """The home of a paper run at 50 ticks a second for five minutes, ended with the last test that looks at it."""
    umask = os.umask(0)  # nothing that the run writes depends on it
    settings = load_settings(tmp_path_factory.mktemp("views"))
    write_day(settings, CONTRACT, DAY, ROWS)
    model = str(write_tiny_bundle(settings.models, enter=0.7, leave=0.2))

    def work() -> None:
        paper_day(settings, "cu", DAY, model=model, rate_orders=10**6, pace=50.0)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        wait(lambda: bool(ready(settings)))
        yield settings
    finally:
        for process in list_processes(settings):
            if process.kind in ("gateway", "strategy"):
                os.kill(process.pid, signal.SIGCONT)
                os.kill(process.pid, signal.SIGTERM)
        thread.join(timeout=PATIENCE_S)
        os.umask(umask)
    assert not thread.is_alive()


def ready(settings: Settings) -> Sequence[str]:
    try:
        return choose_gateway(settings, None).told.ready
    except UnreachableError:
        return []


def wait(until: Callable[[], bool]) -> float:
    """How long that took, less what the machine gave to others."""
    started = time.monotonic()
    with Stalls() as stalls:
        while not until():
            assert time.monotonic() - started < PATIENCE_S, "it did not happen"
            time.sleep(0.02)
    return time.monotonic() - started - stalls.seconds


def pid_of(settings: Settings, kind: str) -> int:
    return next(process.pid for process in list_processes(settings) if process.kind == kind)


def scrape(settings: Settings) -> dict[str, float]:
    shown = {"Authorization": f"Bearer {settings.metrics_token.read_text().strip()}"}
    request = urllib.request.Request(choose_gateway(settings, None).told.metrics, headers=shown)
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        lines = answer.read().decode().splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


def test_a_silence_shows_everywhere_within_two_seconds_and_so_does_the_recovery(running: Settings) -> None:
    settings = running
    gateway = choose_gateway(settings, None)

    def link(state: str) -> float:
        of_strategy = {k: v for k, v in scrape(settings).items() if k.startswith("ghtrader_link") and "strategy" in k}
        return next(value for key, value in of_strategy.items() if state in key)

    def in_file(state: str) -> bool:
        links = choose_gateway(settings, None).told.links
        return any(name.startswith("strategy") and now == state for name, now in links.items())

    assert link('"LIVE"') == 1 and in_file("LIVE")
    strategy = pid_of(settings, "strategy")
    os.kill(strategy, signal.SIGSTOP)
    try:
        assert wait(lambda: link('"STALE"') == 1 and in_file("STALE")) < 2.0
    finally:
        os.kill(strategy, signal.SIGCONT)
    assert wait(lambda: link('"LIVE"') == 1 and in_file("LIVE")) < 2.0
    view = LiveView(settings, gateway.state_dir, gateway.symbol)
    try:
        wait(lambda: view.poll(0.05) and view.link.usable)
        os.kill(gateway.pid, signal.SIGSTOP)
        try:
            assert wait(lambda: (view.poll(0.05) or True) and not view.link.usable) < 2.0
        finally:
            os.kill(gateway.pid, signal.SIGCONT)
        assert wait(lambda: (view.poll(0.05) or True) and view.link.usable) < 2.0
        assert [str(change.after) for change in view.picture.changes] == ["LIVE", "STALE", "LIVE"]
    finally:
        view.close()


def test_metrics_and_one_picture_tell_the_same(running: Settings) -> None:
    settings = running
    wait(lambda: scrape(settings)[TICKS] > 200)
    wait(lambda: choose_gateway(settings, None).told.trading_state == "ACTIVE")
    before = scrape(settings)
    with Stalls() as stalls:
        picture = one_picture(settings, choose_gateway(settings, "paper")).to_json()
    after = scrape(settings)
    assert before[TICKS] <= picture["counts"]["ticks"] <= after[TICKS] + 200 and picture["counts"]["ticks"] > 0
    stages = [name for name in after if name.startswith("ghtrader_tick_to_target_seconds_count")]
    assert len(stages) == 7 and all(after[name] > 0 for name in stages if "acknowledge" not in name)
    assert picture["trading_state"] == "ACTIVE" and picture["links"]["broker"] == "LIVE"
    assert 0 < picture["stages_ms"]["factors"]["p50"] < 50 and len(picture["probabilities"]) == 3
    assert picture["data_age_s"] < 2.0 + stalls.seconds


def test_the_monitor_draws_and_trips_the_switch(running: Settings) -> None:
    settings = running

    async def look() -> None:
        app = Monitor(settings, choose_gateway(settings, None))
        async with app.run_test(size=(80, 24)) as pilot:
            panels = ("head", "book", "right", "links", "latency")
            for _ in range(200):  # a slow machine takes its time over the first picture
                await pilot.pause(0.1)
                app.follow()
                await pilot.pause()
                shown = {name: str(app.query_one(f"#{name}").render()) for name in panels}
                if CONTRACT in shown["head"] and "strategy LIVE" in shown["links"] and "p99" in shown["latency"]:
                    break
            assert CONTRACT in shown["head"] and "a1" in shown["book"] and "b5" in shown["book"]
            assert "ACTIVE" in shown["right"] and "held" in shown["right"] and "net PnL" in shown["right"]
            assert "strategy LIVE" in shown["links"] and "p99" in shown["latency"]
            for panel in ("head", "middle", "links", "orders", "latency"):
                region = app.query_one(f"#{panel}").region
                assert region.bottom <= 23 and region.right <= 80, f"{panel} does not fit 80x24"
            await pilot.press("k")
            await pilot.pause(0.2)
            assert isinstance(app.screen, KillScreen)
            await pilot.press("escape")
            await pilot.pause(0.2)
            assert not KillSwitch(account_ref(settings, "paper", "paper").state_dir).read().tripped
            await pilot.press("k")
            await pilot.pause(0.2)
            await pilot.press(*"seen", "enter")
            for _ in range(200):
                await pilot.pause(0.1)
                app.follow()
                await pilot.pause()
                if "KILL SWITCH TRIPPED" in str(app.query_one("#right").render()):
                    break
            assert "KILL SWITCH TRIPPED" in str(app.query_one("#right").render())
            await app.screen.remove_children()  # as whoever leaves does, with a refresh still to come
            app.follow()

    asyncio.run(look())
    state = KillSwitch(account_ref(settings, "paper", "paper").state_dir).read()
    assert state.tripped and state.reason == "seen"


def test_what_a_run_writes_is_closed_to_others_under_any_umask(running: Settings) -> None:
    """Journals, state, logs, ledger, token, sockets; of pipeline and servers: tests/verify/test_private_home.py."""
    names = {path.name for path in running.home.rglob("*")}
    assert names >= {"gateway.json", "gateway.log", "events.jsonl", "ledger.sqlite", "ledger.sqlite-wal"}
    addresses = endpoints(running, account_ref(running, "paper", "paper").state_dir)
    sockets = [Path(one.removeprefix("ipc://")) for one in (addresses.publish, addresses.requests)]
    assert open_to_others(running.home, running.metrics_token, *sockets) == []


def test_who_does_not_show_the_token_sees_no_metrics(running: Settings) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(choose_gateway(running, None).told.metrics, timeout=PATIENCE_S)
    assert caught.value.code == 401


def test_nobody_to_look_at_is_said(settings) -> None:
    with pytest.raises(UnreachableError, match="no gateway runs"):
        choose_gateway(settings, "paper")
