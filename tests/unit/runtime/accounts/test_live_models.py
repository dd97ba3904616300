"""A model of simulated, mixed or unknown ticks trades no real account; who only monitors may use any."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from ghtrader.cli import run
from ghtrader_base.errors import RefusedError
from ghtrader_base.settings import load_settings
from ghtrader_base.trading_enums import RunMode, Succession
from ghtrader_exchange.world.scenario import Scenario
from ghtrader_market.reference.tick_origin import UNKNOWN, OriginKind, TickOrigin
from ghtrader_market.sources.tqsdk.service_origin import VENDOR
from ghtrader_models.bundles.bundle import Bundle, load_bundle
from ghtrader_models.bundles.champions import list_champions, write_champion
from ghtrader_models.bundles.provenance import BundleProvenance, DayFacts
from ghtrader_runtime.accounts.live_gate import check_model
from ghtrader_runtime.strategy.champion_watcher import ChampionWatcher
from tests.support.runtime_kit import write_tiny_bundle

SEED_1, SEED_2 = Scenario(seed=1).origin, Scenario(seed=2).origin
FILE = TickOrigin(kind=OriginKind.FILE, layout="ctp")
STRANGER = TickOrigin(kind=OriginKind.UNKNOWN, service="10.0.0.1:80")


def facts(origin: TickOrigin | None, day: int) -> DayFacts:
    return DayFacts(
        day=date(2025, 4, day), contract="SHFE.cu2505", segment_id=0, price_tick=10.0, multiplier=5, rows=9,
        features_hash="f", labels_hash="l", origin=origin,
    )  # fmt: skip


def with_days(bundle: Bundle, *origins: TickOrigin | None) -> Bundle:
    days = tuple(facts(origin, number + 1) for number, origin in enumerate(origins))
    return replace(bundle, provenance=BundleProvenance(content=replace(bundle.content, days=days)))


@pytest.mark.parametrize(
    ("origins", "allowed"),
    [
        ((VENDOR, VENDOR), True), ((FILE,), True), ((SEED_1,), False), ((SEED_1, SEED_2), False),
        ((VENDOR, SEED_1), False), ((VENDOR, FILE), False), ((None, None), False), ((VENDOR, None), False),
        ((), False), ((UNKNOWN,), False), ((STRANGER,), False),
    ],
)  # fmt: skip
def test_a_real_account_is_traded_by_models_of_one_real_market(
    tmp_path: Path, origins: tuple[TickOrigin | None, ...], allowed: bool
) -> None:
    bundle = with_days(load_bundle(write_tiny_bundle(tmp_path)), *origins)
    check_model(bundle, RunMode.LIVE, monitor_only=True)
    for mode in (RunMode.PAPER, RunMode.SIM):
        check_model(bundle, mode, monitor_only=False)
    if allowed:
        check_model(bundle, RunMode.LIVE, monitor_only=False)
        return
    with pytest.raises(RefusedError, match="may not trade a real account") as refused:
        check_model(bundle, RunMode.LIVE, monitor_only=False)
    for origin in origins:
        assert (origin or UNKNOWN).words in refused.value.message
    assert "--monitor-only" in refused.value.hint


def test_provenance_comes_back_with_origins_and_is_as_before_without(tmp_path: Path) -> None:
    bundle = load_bundle(write_tiny_bundle(tmp_path))
    for origins in ((SEED_1, VENDOR), (None, None)):
        told = with_days(bundle, *origins).provenance
        assert BundleProvenance.from_dict(told.to_dict()) == told
        days = told.to_dict()["content"]["days"]
        assert [day.get("origin") for day in days] == [origin and origin.to_dict() for origin in origins]


@pytest.mark.clock
def test_the_commands_refuse_before_anything_begins(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GHTRADER_LIVE_ENABLED", "true")
    bundle = write_tiny_bundle(load_settings(home).models)
    common = ["--account", "x", "--mode", "live", "--symbol", "SHFE.cu2505", "--model", bundle.name]
    for command in (["trade", *common, "--confirm-live", "I_UNDERSTAND"], ["strategy", "run", *common]):
        assert run(command) == 3
        assert "may not trade a real account, its days are of: source unknown" in capfd.readouterr().err
    assert not (home / "runs").exists()


def test_a_champion_of_simulated_ticks_does_not_take_over_a_real_account(tmp_path: Path) -> None:
    first, other = (load_bundle(write_tiny_bundle(tmp_path, enter=enter)) for enter in (0.4, 0.5))
    write_champion(tmp_path, first, reason="a test")
    watchers = [
        ChampionWatcher(
            tmp_path, first.symbol, first.horizon, Succession.FLAT, first.bundle_id, 1, mode=mode, monitor_only=monitor
        )
        for mode, monitor in ((RunMode.LIVE, False), (RunMode.LIVE, True), (RunMode.SIM, False))
    ]
    write_champion(tmp_path, other, reason="a test")
    found = [watcher.look(1.0) for watcher in watchers]
    assert found[0] is None and "may not trade a real account" in watchers[0].refused
    assert [one.bundle_id for one in found[1:]] == [other.bundle_id] * 2
    assert list_champions(tmp_path)[0].origin == ""
