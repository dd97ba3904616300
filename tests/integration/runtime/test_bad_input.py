"""Trading commands given what they must refuse: the exit code and the sentence of each, and that nothing was harmed."""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
from datetime import date
from pathlib import Path

import pytest

from ghtrader.cli import run
from ghtrader_base.settings import Settings
from ghtrader_runtime.accounts.account import account_ref, bind_login
from ghtrader_runtime.accounts.order_ledger import BACKUP_NAME, FILE_NAME, ID_NAME, Intent, Ledger, read_ledger
from ghtrader_runtime.run_options import GatewayOptions, ReplayOptions, StrategyOptions, run_folder
from ghtrader_runtime.runlog.journal import read_lines
from ghtrader_runtime.supervisor.supervisor import Child
from tests.integration.runtime.test_views import wait
from tests.support.runtime_kit import write_day, write_tiny_bundle
from tests.unit.runtime.accounts.test_disk_outage import full_disk

CONTRACT, DAY = "SHFE.cu2502", date(2025, 1, 8)


@pytest.fixture
def say(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, home: Path):
    """Runs a command: exit code and what it said on stderr. Nobody can be reached from here."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        closed = f"//127.0.0.1:{taken.getsockname()[1]}"
        for name, value in {"TQSDK_USER": "user", "TQSDK_PASSWORD": "secret", "TQ_AUTH_URL": f"http:{closed}",
                            "TQ_MD_URL": f"ws:{closed}", "TQ_TD_URL": f"ws:{closed}", 
                            "HOME": str(home.parent)}.items():  # fmt: skip
            monkeypatch.setenv(name, value)

        def typed(*arguments: str) -> tuple[int, str]:
            capfd.readouterr()
            code = run(list(arguments))
            shown = capfd.readouterr()
            assert "Traceback" not in shown.err and not shown.out, shown
            told = shown.err[shown.err.index("error: ") :]
            assert len(told.strip().splitlines()) <= 2, "one line what is wrong, one what to do"
            return code, told

        yield typed


STRATEGY = ("strategy", "run", "--account", "demo", "--symbol", CONTRACT)
GATEWAY = ("gateway", "run", "--account", "demo", "--symbol", CONTRACT)


def test_models_that_cannot_be_traded(say, settings: Settings) -> None:
    code, told = say(*STRATEGY)
    assert code == 2 and "no champion" in told and "promote" in told
    code, told = say(*STRATEGY, "--model", "nothing")
    assert code == 2 and "no model bundle" in told
    bundle = write_tiny_bundle(settings.models)
    (bundle / "policy.json").write_text("{}")
    code, told = say(*STRATEGY, "--model", bundle.name)
    assert code == 1 and "policy.json" in told
    (bundle / "manifest.json").write_text("{")
    assert say(*STRATEGY, "--model", bundle.name)[0] == 1
    other = write_tiny_bundle(settings.models, symbol="KQ.m@SHFE.au", price_tick=0.02)
    code, told = say(*STRATEGY, "--model", str(other))
    assert code == 3 and "was trained on KQ.m@SHFE.au, not KQ.m@SHFE.cu" in told
    code, told = say("strategy", "run", "--account", "demo", "--symbol", "SHFE.xx2502", "--model", str(other))
    assert code == 2 and "SHFE.xx" in told


def test_accounts_and_gates(say, settings: Settings, monkeypatch) -> None:
    for command in (GATEWAY, ("trade", *GATEWAY[2:])):
        code, told = say(*command, "--mode", "live", "--confirm-live", "I_UNDERSTAND")
        assert code == 3 and "disabled" in told and "GHTRADER_LIVE_ENABLED" in told
    monkeypatch.setenv("GHTRADER_LIVE_ENABLED", "true")
    for command in (GATEWAY, ("trade", *GATEWAY[2:])):
        for confirm in ((), ("--confirm-live", "yes")):
            code, told = say(*command, "--mode", "live", *confirm)
            assert code == 3 and "not confirmed" in told and "I_UNDERSTAND" in told
    code, told = say(*GATEWAY, "--mode", "live", "--confirm-live", "I_UNDERSTAND")
    assert code == 2 and "TQ_BROKER_ID" in told
    bind_login(settings, account_ref(settings, "known", "sim"), "user")
    code, told = say(*GATEWAY, "--mode", "sim")
    assert code == 3 and "traded as account 'known', not 'demo'" in told
    code, told = say("gateway", "run", "--account", "known", "--symbol", CONTRACT, "--mode", "sim")
    assert code == 4 and "login service" in told
    assert say("gateway", "run", "--account", "../x", "--symbol", CONTRACT, "--mode", "sim")[0] == 2


@pytest.mark.clock
def test_a_corrupt_ledger_is_refused_and_what_is_told_restores_it(say, settings: Settings) -> None:
    folder = account_ref(settings, "demo", "sim").state_dir
    ledger = Ledger(folder)
    ledger.intend(
        Intent(
            order_id=ledger.state.order_id(1),
            number=1,
            symbol=CONTRACT,
            side=1,
            offset="OPEN",
            volume=1,
            price=70_000.0,
            tif="FAK",
        )
    )
    first = ledger.state.ledger_id
    ledger.close()
    Ledger(folder).close()  # a start: its copy holds the intent
    (folder / FILE_NAME).write_bytes(b"x" * 8192)
    code, told = say(*GATEWAY, "--mode", "sim")
    assert code == 1 and "is damaged" in told and "nothing was changed" in told
    assert (folder / FILE_NAME).read_bytes() == b"x" * 8192, "never begun anew"
    assert f"move {FILE_NAME}* away and copy {BACKUP_NAME}" in told and str(folder) in told, "what to do"
    for path in folder.glob(f"{FILE_NAME}*"):
        path.unlink()
    assert say(*GATEWAY, "--mode", "sim")[0] == 1, "gone is damaged too"
    shutil.copy(folder / BACKUP_NAME, folder / FILE_NAME)
    code, told = say(*GATEWAY, "--mode", "sim")
    assert code == 4 and "login service" in told, "it starts, as far as there is somebody to reach"
    known = read_ledger(folder)
    assert known.ledger_id == first and len(known.open) == 1 and (folder / ID_NAME).read_text().strip() == first


def test_a_full_disk_under_a_running_gateway(settings: Settings, home: Path) -> None:
    """Orders stop with the reason while the disk is full, and go on by themselves when it is not."""
    key = write_day(settings, CONTRACT, DAY, 6000)
    model = write_tiny_bundle(settings.models, enter=0.5, leave=0.05)
    folder = account_ref(settings, "full", "paper").state_dir
    folder.mkdir(parents=True)
    if os.geteuid() != 0:
        pytest.skip("only who may mount has a disk small enough")
    run_id = "full"
    replay = ReplayOptions(dataset="main_l5", key=key, day=str(DAY), pace=60.0)
    options = GatewayOptions(
        account="full", mode="paper", symbol=CONTRACT, run_id=run_id, replay=replay, rate_orders=10**6
    )
    where = run_folder(settings, run_id)

    def document() -> dict:
        try:
            return json.loads((where / "gateway.json").read_text())
        except (OSError, ValueError):
            return {}

    def sent() -> int:
        return sum(line["kind"] == "sent" for line in read_lines(where / "orders.jsonl"))

    with full_disk(folder) as fill:
        gateway = Child(settings, "gateway", where, options)
        strategy = Child(settings, "strategy", where, StrategyOptions(
            account="full", mode="paper", symbol=CONTRACT, model=str(model)))  # fmt: skip
        try:
            wait(lambda: sent() > 5)
            fill(True)
            wait(lambda: document()["trading_state"] == "HALTED")
            assert any("ledger cannot be written" in reason for reason in document()["reasons"]), document()["reasons"]
            wait(lambda: any(line["kind"] == "ledger" for line in read_lines(where / "events.jsonl")))
            before = sent()
            time.sleep(2.0)
            assert sent() == before and gateway.running and strategy.running
            fill(False)
            wait(lambda: document()["trading_state"] == "ACTIVE")
            wait(lambda: sent() > before)
        finally:
            strategy.stop()
            gateway.stop()
        assert gateway.error() is None
        ids = [line["id"] for line in read_lines(where / "orders.jsonl") if line["kind"] == "sent"]
        assert len(ids) == len(set(ids))
        assert not read_ledger(folder).open
