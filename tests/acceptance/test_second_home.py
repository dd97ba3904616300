"""An account that lives outside, from two homes: one gateway, one strategy, one kill switch, over every restart."""


from __future__ import annotations

import json
import os
import signal
from datetime import date
from pathlib import Path

import msgspec
import pytest

from ghtrader.cli import run
from ghtrader_base.settings import Settings, load_settings
from ghtrader_market.sources.tqsdk.service_origin import VENDOR
from ghtrader_runtime.accounts.account import account_ref
from ghtrader_runtime.accounts.kill_switch import KillSwitch
from ghtrader_runtime.bus.endpoints import endpoints
from ghtrader_runtime.supervisor.supervisor import Child
from tests.integration.runtime.test_sim import (  # noqa: F401  fixtures
    ACCOUNT,
    LIVE_DAY,
    SYMBOL,
    Hand,
    children,
    exchange,
    options,
    run_folder,
    settings,
    strategy,
)  # fmt: skip
from tests.support.runtime_kit import write_tiny_bundle
from tests.support.waiting import PATIENCE_S, until

pytestmark = pytest.mark.acceptance
LEARNED = date(2025, 4, 1)


def begin(settings: Settings, children: list[Child], kind: str, name: str, given) -> Child:
    child = Child(settings, kind, run_folder(settings, name), given)
    children.append(child)
    return child


def wait_for_token(settings: Settings, mode: str) -> None:
    """Until a gateway of the account has its lock and its token."""
    until(lambda: any(account_ref(settings, ACCOUNT, mode).state_dir.glob("*token*")), "a token")


def typed(capfd: pytest.CaptureFixture[str], home: Path, *arguments: str) -> tuple[int, str, str]:
    """A command in a home: exit code, stdout, stderr."""
    capfd.readouterr()
    code = run([*arguments, "--home", str(home)])
    shown = capfd.readouterr()
    assert "Traceback" not in shown.err
    return code, shown.out, shown.err


def held_there(capfd: pytest.CaptureFixture[str], home: Path) -> set[str]:
    """Names of the locks a home sees held."""
    code, out, _ = typed(capfd, home, "locks", "--json")
    assert code == 0
    return {row["name"] for row in json.loads(out)["locks"]}


def test_a_second_home_is_refused_by_lock_and_blocked_by_the_switch(
    exchange, settings, children, capfd, tmp_path, monkeypatch
) -> None:  # fmt: skip
    monkeypatch.setenv("HOME", os.environ["HOME"])
    for name in ("TQ_BROKER_ID", "TQ_ACCOUNT_ID"):
        monkeypatch.setenv(name, "8000")
    monkeypatch.setenv("TQ_ACCOUNT_PASSWORD", exchange.env["TQSDK_PASSWORD"])
    monkeypatch.setenv("GHTRADER_LIVE_ENABLED", "true")
    settings = load_settings(settings.home)
    second = tmp_path / "second"
    there = load_settings(second)
    model = write_tiny_bundle(settings.models, enter=0.7, leave=0.2, days=[LEARNED], origin=VENDOR)
    live = msgspec.structs.replace(options("live"), mode="live", confirm_live="I_UNDERSTAND")
    began = [
        begin(settings, children, "gateway", "sim", options("sim")),
        begin(settings, children, "strategy", "sim", strategy(model)),
        begin(settings, children, "gateway", "live", live),
    ]
    for mode in ("sim", "live"):
        wait_for_token(settings, mode)
    wanted = {f"trade:account={ACCOUNT}", f"trade:strategy:account={ACCOUNT}"}
    # A slow machine starts a strategy more slowly than this one types.
    until(lambda: wanted <= held_there(capfd, second), lambda: f"{wanted} among {held_there(capfd, second)}")

    account = ("--account", ACCOUNT, "--symbol", SYMBOL)
    confirm = ("--confirm-live", "I_UNDERSTAND")
    for mode, holder in (("sim", began[0]), ("live", began[2])):
        code, _, told = typed(capfd, second, "gateway", "run", *account, "--mode", mode, *confirm)
        assert code == 3 and f"trade:account={ACCOUNT} is held by pid {holder.process.pid}" in told and "since" in told
    code, _, told = typed(capfd, second, "strategy", "run", *account, "--mode", "sim", "--model", str(model))
    assert code == 3 and f"trade:strategy:account={ACCOUNT} is held by pid {began[1].process.pid}" in told
    other = ("--account", ACCOUNT, "--symbol", "SHFE.cu2507", "--mode", "sim")
    assert typed(capfd, second, "strategy", "run", *other)[0] == 3, "another contract is the same account"

    code, out, _ = typed(capfd, second, "kill", "trip", "--account", ACCOUNT, "--reason", "seen from there", "--json")
    told_to = {row["broker"].split("-")[0] for row in json.loads(out)["brokers"] if row["told"]}
    assert code == 0 and told_to == {"tqkq", "live"}, "both gateways have acknowledged it"
    for child in began:  # the machine goes down: nobody says goodbye, and its sockets are gone
        os.kill(child.process.pid, signal.SIGKILL)
        child.process.wait(PATIENCE_S)
    sockets = endpoints(settings, account_ref(settings, ACCOUNT, "sim").state_dir)
    for address in (sockets.publish, sockets.requests):
        Path(address.removeprefix("ipc://")).unlink()
    for mode in ("sim", "live"):
        for home in (settings.home, second):
            code, _, told = typed(capfd, home, "trade", *account, "--mode", mode, "--model", str(model), *confirm)
            assert code == 3 and "kill switch" in told and "seen from there" in told and "kill reset" in told

    begin(there, children, "gateway", "again", options("again"))
    hand = Hand(there)
    hand.join()
    exchange.control.set_clock(frozen=False)
    hand.listen(lambda: hand.tick is not None and hand.tick.trading_day == str(LIVE_DAY))
    assert hand.state.killed and hand.state.trading_state == "HALTED"
    hand.want(1)
    hand.listen(lambda: any("seen from there" in ack.reason for ack in hand.acks))
    assert not exchange.control.orders()
    reset = ("kill", "reset", "--account", ACCOUNT)
    assert typed(capfd, settings.home, *reset)[0] == 2 and typed(capfd, settings.home, *reset, "--reason", " ")[0] == 2
    assert KillSwitch(account_ref(settings, ACCOUNT, "sim").state_dir).read().tripped
    assert typed(capfd, settings.home, *reset, "--reason", "looked into it")[0] == 0
    hand.reach(1)
    hand.reach(0)
    assert exchange.control.orders()
