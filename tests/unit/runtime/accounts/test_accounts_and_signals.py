"""Gates and names of accounts; the signal equals the batch bit for bit and refuses what it cannot compute."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from ghtrader_base.errors import ConfigError, FailedError, RefusedError, UsageError
from ghtrader_base.lock_keys import trade_key
from ghtrader_base.locks import resource_lock
from ghtrader_base.settings import Settings, load_settings
from ghtrader_market.reference.session_times import CLOSING_NS, factor_clock
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_models.bundles.bundle import load_bundle
from ghtrader_models.factors.engine import FactorEngine
from ghtrader_runtime.accounts.account import AccountRef, account_ref, all_refs, bind_login
from ghtrader_runtime.accounts.kill_switch import KillSwitch
from ghtrader_runtime.accounts.live_gate import check_gates, require_credentials
from ghtrader_runtime.bus.endpoints import endpoints
from ghtrader_runtime.gateway.contract_binding import contract_to_trade
from ghtrader_runtime.operator_views import kill_commands
from ghtrader_runtime.runlog.journal import FactorJournal, Journal, read_factors, read_lines
from ghtrader_runtime.strategy.signal_engine import SignalEngine
from tests.support.runtime_kit import session_times, synthetic_values, tiny_factor_set, write_tiny_bundle

CONTRACT, DAY = "SHFE.cu2502", date(2025, 1, 8)


@pytest.mark.parametrize(
    ("mode", "enabled", "confirm", "monitor", "may"),
    [
        ("live", True, "I_UNDERSTAND", False, True),
        ("live", True, "", False, False),
        ("live", True, "yes", False, False),
        ("live", False, "I_UNDERSTAND", False, False),
        ("live", False, "", True, True),
        ("sim", False, "", False, True),
        ("paper", False, "", False, True),
    ],
)
def test_the_two_steps_in_front_of_a_real_account(home, monkeypatch, mode, enabled, confirm, monitor, may) -> None:
    monkeypatch.setenv("GHTRADER_LIVE_ENABLED", str(enabled).lower())
    if may:
        check_gates(load_settings(), mode, monitor, confirm)
        return
    with pytest.raises(RefusedError):
        check_gates(load_settings(), mode, monitor, confirm)


def test_outside_accounts_live_outside_the_home_and_by_address(settings, monkeypatch) -> None:
    plain = account_ref(settings, "demo", "sim")
    assert settings.home not in plain.state_dir.parents and plain.broker == "tqkq"
    assert settings.home in account_ref(settings, "demo", "paper").state_dir.parents
    monkeypatch.setenv("TQ_TD_URL", "ws://127.0.0.1:1/td")
    other = account_ref(load_settings(), "demo", "sim")
    assert other.broker.startswith("tqkq-") and other.state_dir != plain.state_dir
    for name in ("", "../x", "a/b", ".", "x" * 65):
        with pytest.raises(UsageError):
            account_ref(settings, name, "sim")


def test_a_login_has_one_name(settings) -> None:
    ref = account_ref(settings, "demo", "sim")
    assert len(bind_login(settings, ref, "13800000000")) == 2
    assert len(bind_login(settings, ref, "13800000000")) == 2
    with pytest.raises(RefusedError, match="account 'demo'"):
        bind_login(settings, account_ref(settings, "another", "sim"), "13800000000")
    assert not list(ref.state_dir.parent.parent.rglob("*13800000000*"))


def test_a_shell_without_addresses_still_reaches_every_switch_of_a_name(settings, monkeypatch) -> None:
    monkeypatch.setenv("TQ_TD_URL", "ws://127.0.0.1:1/td")
    ref = account_ref(load_settings(), "demo", "sim")
    KillSwitch(ref.state_dir).trip("test")
    monkeypatch.delenv("TQ_TD_URL")
    assert ref in all_refs(load_settings(), "demo")


VENDOR = {"TQ_AUTH_URL": "https://auth.shinnytech.com", "TQ_TD_URL": "wss://opentd.shinnytech.com/trade/user0"}
REAL = (
    {},
    VENDOR,
    {"TQ_AUTH_URL": "HTTPS://Auth.ShinnyTech.com:443/"},
    {"TQ_TD_URL": "wss://front.of.the.broker.example/trade"},
    {"TQ_TD_URL": "ws://127.0.0.1:9999/through/a/tunnel"},
    {"TQ_AUTH_URL": "https://auth.shinnytech.com.", "TQ_TD_URL": "wss://another.front.example:443/trade/"},
    {"TQ_AUTH_URL": "https://a.proxy.example"},
)
SIMULATED = (
    {"TQ_AUTH_URL": "http://127.0.0.1:41001/auth", "TQ_TD_URL": "ws://127.0.0.1:41001/td"},
    {"TQ_AUTH_URL": "http://localhost:41001/auth/", "TQ_TD_URL": "ws://localhost:41001/td"},
    {"TQ_AUTH_URL": "HTTP://LOCALHOST:41001/auth", "TQ_TD_URL": " ws://127.0.0.1:41001/td/ "},
)


def ref_with(monkeypatch: pytest.MonkeyPatch, addresses: dict[str, str], mode: str, **other: str) -> AccountRef:
    """The account `demo` where these addresses are set."""
    with monkeypatch.context() as patch:
        for name in ("TQ_AUTH_URL", "TQ_TD_URL"):
            patch.delenv(name, raising=False)
        for name, value in ({"TQ_BROKER_ID": "a broker"} | addresses | other).items():
            patch.setenv(name, value)
        return account_ref(load_settings(), "demo", mode)


def test_a_real_account_is_one_account_however_its_addresses_are_spelled(settings, monkeypatch) -> None:
    real = {ref_with(monkeypatch, addresses, "live") for addresses in REAL}
    assert len(real) == 1
    assert len({ref_with(monkeypatch, addresses, "sim") for addresses in (REAL[0], VENDOR, REAL[2])}) == 1
    for mode in ("live", "sim"):
        simulated = {ref_with(monkeypatch, addresses, mode) for addresses in SIMULATED}
        assert len(simulated) == 1 and not simulated & real, "the simulated exchange's is one other"
    assert ref_with(monkeypatch, {}, "live", TQ_BROKER_ID="another").state_dir != real.pop().state_dir


def older_folder(settings: Settings, addresses: dict[str, str]) -> Path:
    """Where earlier versions kept the real account `demo`: they went by the spelling."""
    spelled = (addresses.get("TQ_TD_URL", ""), addresses.get("TQ_AUTH_URL", ""))
    hashed = [hashlib.sha256("\0".join(parts).encode()).hexdigest()[:10] for parts in (("a broker",), spelled)]
    return settings.account_state(f"live-{hashed[0]}-{hashed[1]}", "demo")


@pytest.mark.parametrize("addresses", [VENDOR, {"TQ_TD_URL": "wss://front.of.the.broker.example/trade"}])
def test_a_folder_of_an_older_name_is_found_and_its_trip_stays(settings, monkeypatch, addresses) -> None:
    older = older_folder(settings, addresses)
    KillSwitch(older).trip("before the upgrade")
    login = older.parent / "@login-0123456789"
    login.mkdir()
    (login / "name.json").write_text('{"account": "demo"}')
    held = resource_lock(older, trade_key("demo"), "a gateway of the older version")
    with held:
        assert ref_with(monkeypatch, addresses, "live").state_dir == older, "it is in use"
    ref = ref_with(monkeypatch, addresses, "live")
    assert ref.older is None and not older.exists() and (ref.state_dir.parent / login.name / "name.json").exists()
    for spelled in REAL:
        state = KillSwitch(ref_with(monkeypatch, spelled, "live").state_dir).read()
        assert state.tripped and state.reason == "before the upgrade"


def test_two_folders_of_one_account_share_a_trip(settings, monkeypatch) -> None:
    new = ref_with(monkeypatch, {}, "live")
    bind_login(settings, new, "")
    KillSwitch(older_folder(settings, VENDOR)).trip("before the upgrade")
    ref = ref_with(monkeypatch, VENDOR, "live")
    assert ref.state_dir == new.state_dir and ref.older == older_folder(settings, VENDOR)
    bind_login(settings, ref, "")
    state = KillSwitch(new.state_dir).read()
    assert state.tripped and "before the upgrade" in state.reason
    for name, value in ({"TQ_BROKER_ID": "a broker"} | VENDOR).items():
        monkeypatch.setenv(name, value)
    kill_commands.reset(load_settings(), "demo", "fine", "live")
    bind_login(settings, ref, "")
    assert not KillSwitch(new.state_dir).read().tripped, "one reset frees both"


def test_sockets_do_not_depend_on_the_spelling_of_the_home(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "home").mkdir()
    (tmp_path / "link").symlink_to("home")
    (tmp_path / "other").mkdir()
    found = set()
    for home in ("home", "./home", "other/../home", "link", str(tmp_path / "home") + "//", tmp_path / "link" / "."):
        settings = load_settings(home)
        found.add(endpoints(settings, account_ref(settings, "paper", "paper").state_dir))
    assert len(found) == 1
    settings = load_settings("other")
    assert endpoints(settings, account_ref(settings, "paper", "paper").state_dir) not in found


def test_missing_credentials_are_named(settings) -> None:
    with pytest.raises(ConfigError, match="TQSDK_USER"):
        require_credentials(settings, "sim", "tqkq")


def test_a_main_series_needs_a_schedule(settings) -> None:
    assert contract_to_trade(settings.data, CONTRACT, bundled_calendar()) == CONTRACT
    with pytest.raises(FailedError, match="no roll schedule"):
        contract_to_trade(settings.data, "KQ.m@SHFE.cu", bundled_calendar())


def test_live_factors_equal_the_batch_and_the_day_ends_flat(settings, tmp_path) -> None:
    bundle = load_bundle(write_tiny_bundle(settings.models))
    times, values = session_times(CONTRACT, DAY, 60_000), None
    keep = np.r_[0:1500, len(times) - 400 : len(times)]
    times = times[keep]
    values = synthetic_values(len(times), 3)
    signal = SignalEngine(bundle, bundled_calendar(), CONTRACT, 10.0, 5, flat_before_end_ns=60 * 10**9)
    nears = []
    journal = Journal(tmp_path / "run")
    rows = FactorJournal(journal, signal.width)
    targets = []
    for i, moment in enumerate(times.tolist()):
        decision = signal.on_tick(str(DAY), moment, values[:, i])
        targets.append(decision.target)
        nears.append(decision.near)
        rows.add(i, moment, str(DAY), decision.factors, decision.probabilities, decision.target, True)
    rows.flush()
    journal.close()
    bounds = bundled_calendar().sessions("cu", DAY)
    batch = FactorEngine(tiny_factor_set(), 10.0, 5, bounds).batch(times, values)
    kept = read_factors(tmp_path / "run")
    assert kept["factors"].tobytes() == batch.tobytes() and kept["id"].tolist() == list(range(len(times)))
    assert {-1, 1} <= set(targets) and set(targets[-119:]) == {0}
    changes = [i for i in range(1, 1500) if targets[i] != targets[i - 1]]
    told = sum(targets[i] in nears[i - 1] for i in changes)
    assert told > len(changes) / 2, "most changes were told one tick before"
    assert not any(target in near for target, near in zip(targets, nears, strict=True))
    assert signal.on_tick(str(DAY), bounds[-1][1] + CLOSING_NS, values[:, -1]) is None
    signal.stop_trading = True
    again = signal.on_tick("2025-01-09", int(session_times(CONTRACT, date(2025, 1, 9), 1)[0]), values[:, 0])
    assert again.reason == "cold" and np.array_equal(again.factors, batch[0], equal_nan=True) and again.target == 0


def test_the_snapshot_that_ends_a_session_counts_alike_live_and_in_batch(settings) -> None:
    """Stamped 10:15:00.0 and 15:00:00.5, with the session's last lots."""
    bundle = load_bundle(write_tiny_bundle(settings.models))
    bounds = bundled_calendar().sessions("cu", DAY)
    times, values = session_times(CONTRACT, DAY, 60_000), synthetic_values(600, 3)
    morning = int(np.searchsorted(times, bounds[1][1]))
    times = np.concatenate([times[morning - 300 : morning + 298], times[-2:]])
    times[300], times[301], times[-1] = bounds[1][1], bounds[1][1] + CLOSING_NS, bounds[-1][1] + 500_000_000
    live, ahead = (SignalEngine(bundle, bundled_calendar(), CONTRACT, 10.0, 5) for _ in range(2))
    targets, rows, outside = [], [], []
    for i, moment in enumerate(times.tolist()):
        decision = live.on_tick(str(DAY), moment, values[:, i])
        targets.append(live.target)
        if decision is None:
            outside.append(i)
        else:
            rows.append(decision.factors.copy())
    assert outside == [301]
    assert ahead.on_day(str(DAY), times, values).tolist() == targets
    inside = np.delete(np.arange(600), 301)
    clock = factor_clock(times[inside], bounds)
    batch = FactorEngine(tiny_factor_set(), 10.0, 5, bounds).batch(clock, np.ascontiguousarray(values[:, inside]))
    assert np.stack(rows).tobytes() == batch.tobytes()


def test_a_factor_list_that_is_not_ours_is_refused(settings) -> None:
    bundle = load_bundle(write_tiny_bundle(settings.models))
    for wrong in (
        replace(bundle, factor_spec_hash="0" * 64),
        replace(bundle, factor_names=tuple(reversed(bundle.factor_names))),
        replace(bundle, factor_set_spec=replace(bundle.factor_set_spec, factors=(("a", "NoSuch(1)"),))),
    ):
        with pytest.raises(RefusedError, match="factor list"):
            SignalEngine(wrong, bundled_calendar(), CONTRACT, 10.0, 5)


def test_the_journal_keeps_order_and_survives_odd_numbers(tmp_path) -> None:
    journal = Journal(tmp_path)
    for i in range(300):
        journal.write("events", "x", {"i": i, "odd": float("nan"), "n": np.int64(i)})
    journal.close()
    lines = read_lines(tmp_path / "events.jsonl")
    assert [line["i"] for line in lines] == list(range(300)) and lines[0]["odd"] is None and lines[5]["n"] == 5
    with (tmp_path / "events.jsonl").open("a") as file:
        file.write(json.dumps({"cut": True})[:5])
    assert len(read_lines(tmp_path / "events.jsonl")) == 300


def test_a_tick_without_an_opinion_does_not_blind_the_foresight(settings) -> None:
    signal = SignalEngine(load_bundle(write_tiny_bundle(settings.models)), bundled_calendar(), CONTRACT, 10.0, 5)
    enter = signal._policy.enter
    signal.target = 0
    nan, below = float("nan"), enter - 0.01
    for edge in (*[below, below - 0.02] * 30, nan, below, below - 0.02):
        near = signal._near(0.5 - edge / 2, 0.0, 0.5 + edge / 2, 10.0)
    assert near == (1,) and signal._near(nan, nan, nan, 10.0) == ()
