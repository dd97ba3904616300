"""A broken line shows in status, metrics and views within two seconds, and so does its recovery; and TqSdk's own rules
stand behind ours. Real client, real exchange."""


from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from ghtrader_base.settings import Settings
from ghtrader_runtime.operator_views.gateway_view import LiveView, choose_gateway
from tests.integration.runtime.test_sim import (  # noqa: F401  fixtures
    LIVE_DAY,
    SYMBOL,
    Hand,
    children,
    events,
    exchange,
    options,
    run_folder,
    settings,
)  # fmt: skip

from ghtrader_runtime.supervisor.supervisor import Child, new_run_id  # isort: skip
from tests.support.machine_stalls import Stalls
from tests.support.tqsdk_maintenance import outside_maintenance
from tests.support.waiting import PATIENCE_S

pytestmark = [pytest.mark.acceptance, pytest.mark.clock]
WITHIN_S = 2.0
LINKS = ("broker", "data")


def ghtrader(*arguments: str) -> dict:
    command = [sys.executable, "-m", "ghtrader", *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    return json.loads(done.stdout)


def scraped(url: str) -> dict[str, float]:
    with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
        lines = answer.read().decode().splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


class Lookers:
    """Everybody who looks on: the bus, the metrics, the state file that `status` reads."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.gateway = settings, choose_gateway(settings, None)
        self.view = LiveView(settings, self.gateway.state_dir, SYMBOL)
        self.seen: dict[tuple[str, str], dict[str, float]] = {}

    def look(self) -> None:
        """Note when each first showed each state of each link."""
        now = time.monotonic()
        self.view.poll(0.01)
        told = choose_gateway(self.settings, None).told
        metrics = scraped(told.metrics)
        for link in LINKS:
            if self.view.picture.state is not None:
                self._note("view", link, self.view.picture.state.links[link], now)
            self._note("file", link, told.links[link], now)
            for key, value in metrics.items():
                if value and key.startswith("ghtrader_link{") and f'link="{link}"' in key:
                    self._note("metrics", link, key.partition('state="')[2].partition('"')[0], now)

    def _note(self, who: str, link: str, state: str, now: float) -> None:
        self.seen.setdefault((who, link), {}).setdefault(state, now)

    def all_say(self, state: str) -> bool:
        return len(self.seen) == 3 * len(LINKS) and all(state in found for found in self.seen.values())

    def first(self, state: str, only: str = "") -> list[float]:
        return [found[state] for (_, link), found in self.seen.items() if only in ("", link)]


def break_both_lines(exchange, lookers: Lookers, settings: Settings) -> bool:
    """Break them and wait for the recovery, looking on; False where they were back too soon for the commands."""
    lookers.seen.clear()
    broken = time.monotonic()
    exchange.control.fault("abort-td")
    exchange.control.fault("abort-md")
    with Stalls() as stalls:
        while not lookers.all_say("DOWN") and time.monotonic() < broken + 3:
            lookers.look()
    lasted = lookers.all_say("DOWN")
    if lasted:
        assert max(lookers.first("DOWN")) - broken - stalls.seconds < WITHIN_S, lookers.seen
        with ThreadPoolExecutor() as pool:  # both at once: the lines are back in ten seconds
            asked = pool.submit(ghtrader, "monitor")
            (shown,) = [row for row in ghtrader("status")["trading"] if row["kind"] == "gateway"]
            picture = asked.result()
        links = choose_gateway(settings, None).told.links
        lasted = links["broker"] == links["data"] == "DOWN"
    if lasted:
        assert shown["links"]["broker"] == shown["links"]["data"] == "DOWN" and shown["trading_state"] == "HALTED"
        assert "broker DOWN, data DOWN" in shown["degraded"]
        assert picture["links"]["broker"] == "DOWN" and any("data link" in reason for reason in picture["reasons"])
    lookers.seen.clear()
    with Stalls() as stalls:
        while not lookers.all_say("LIVE"):
            lookers.look()
            assert time.monotonic() < broken + PATIENCE_S, lookers.seen
    for link in LINKS:
        firsts = lookers.first("LIVE", link)
        assert max(firsts) - min(firsts) - stalls.seconds < WITHIN_S, lookers.seen
    return lasted


def test_a_broken_line_shows_everywhere_within_two_seconds(exchange, settings, children, monkeypatch) -> None:
    # In the maintenance TqSdk gives up at once and the gateway logs in anew within milliseconds: nobody sees it down.
    monkeypatch.setenv("PYTHONPATH", outside_maintenance()["PYTHONPATH"])
    run_id = new_run_id("test")
    given = msgspec.structs.replace(options(run_id), day_orders=3, max_position=1)
    children.append(Child(settings, "gateway", run_folder(settings, run_id), given))
    hand = Hand(settings)
    hand.join()
    exchange.control.set_clock(frozen=False)
    hand.listen(lambda: hand.tick is not None and hand.tick.trading_day == str(LIVE_DAY))
    lookers = Lookers(settings)
    lookers.look()
    assert lookers.all_say("LIVE")
    lookers.seen.clear()
    for _ in range(3):  # TqSdk may connect again at once, but then not a second time for ten seconds
        lasted = break_both_lines(exchange, lookers, settings)
        hand.listen(lambda: hand.state.trading_state == "ACTIVE", 60.0)
        if lasted:
            break
    assert lasted, "the lines were back before anybody could look three times over"
    lookers.view.close()
    before = hand.tick.id
    hand.listen(lambda: hand.tick.id > before + 2)

    assert "TqRuleOpenCountsLimit" in choose_gateway(settings, None).told.tqsdk_rules
    for volume in (1, 0, 1, 0, 1, 0):  # three openings, and what closes is not counted
        hand.reach(volume)
    known = len(exchange.control.orders())
    hand.want(1)
    hand.listen(lambda: hand.state.trading_state == "REDUCING")
    assert any("TqRuleOpenCountsLimit" in reason and "3" in reason for reason in hand.state.reasons), hand.state.reasons
    assert len(exchange.control.orders()) == known, "what the rule refuses never leaves"
    hand.listen(lambda: bool(events(settings, run_id, "reducing")))
    assert len(events(settings, run_id, "reducing")) == 1
