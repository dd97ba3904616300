"""Limits typed, set and built in are the same everywhere; words and combinations that mean nothing are refused."""

from __future__ import annotations

import msgspec
import pytest

from ghtrader.cli import run
from ghtrader.commands.risk_options import in_force
from ghtrader_base.errors import ConfigError, UsageError
from ghtrader_base.settings import load_settings, set_setting
from ghtrader_base.trading_enums import OnKill, Peg, RunMode, SimKind, TimeInForce, UnknownOrders
from ghtrader_base.trading_limits import TRADING_LIMITS
from ghtrader_market.accounting.execution_model import ExecutionModel
from ghtrader_runtime.core.order_planning import ExecutionStyle
from ghtrader_runtime.core.risk_rules import RiskLimits
from ghtrader_runtime.run_options import GatewayOptions, check_options, execution_model, execution_style, risk_limits

PLAIN = GatewayOptions(account="a", mode="sim", symbol="SHFE.cu2502", run_id="r")


def test_one_default_everywhere(home) -> None:
    assert risk_limits(PLAIN) == RiskLimits() and execution_style(PLAIN) == ExecutionStyle()
    for name, value in load_settings(home).risk().items():
        assert getattr(PLAIN, name) == value, name
    for limit in TRADING_LIMITS:
        value = getattr(PLAIN, limit.name)
        assert value == limit.default and type(value) is type(limit.default), limit
        assert not limit.choices or value in limit.choices, limit


def test_what_is_typed_beats_what_is_set(home, monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    set_setting("GHTRADER_RISK_DAILY_LOSS", "5000", home)
    set_setting("GHTRADER_RISK_ON_KILL", "flatten", home)
    settings = load_settings(home)
    assert in_force(settings, {})["daily_loss"] == 5000 and in_force(settings, {})["on_kill"] == "flatten"
    assert in_force(settings, {"daily_loss": 7.0})["daily_loss"] == 7
    GatewayOptions(account="a", mode="sim", symbol="s", run_id="r", **in_force(settings, {"tif": "GFD"}))
    with pytest.raises(UsageError, match="GHTRADER_RISK_PRICE_COLLAR"):
        set_setting("GHTRADER_RISK_PRICE_COLLAR", "2")
    monkeypatch.setenv("GHTRADER_RISK_ON_KILL", "run")
    with pytest.raises(ConfigError, match="GHTRADER_RISK_ON_KILL"):
        load_settings(home)


def test_a_benchmark_meets_the_market_as_paper_does_by_the_same_settings(home) -> None:
    set_setting("GHTRADER_LATENCY_MS", "700", home)
    set_setting("GHTRADER_RISK_MAX_ORDER", "2", home)
    settings = load_settings(home)
    paper = execution_model(msgspec.structs.replace(PLAIN, **in_force(settings, {})))
    assert ExecutionModel.of_settings(settings) == paper == ExecutionModel(latency_ms=700.0, max_order=2)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mode": "real"}, "unknown --mode 'real'"),
        ({"sim": "tq"}, "unknown --sim"),
        ({"on_kill": "flaten"}, "unknown --on-kill 'flaten'"),
        ({"unknown_orders": "keep"}, "unknown --unknown-orders"),
        ({"tif": "IOC"}, "unknown --tif"),
        ({"peg": "join"}, "--peg join rests"),
        ({"tif": "FOK", "max_order": 1, "max_position": 2}, "filled in parts"),
    ],
)
def test_what_means_nothing_is_refused(changes, words) -> None:
    with pytest.raises(UsageError, match=words):
        check_options(msgspec.structs.replace(PLAIN, **changes))


def test_words_become_members_however_they_were_given() -> None:
    given = msgspec.structs.replace(
        PLAIN, mode="paper", sim="tqsim", tif="GFD", peg="join", on_kill="flatten", unknown_orders="adopt"
    )
    checked = check_options(given)
    words = (checked.mode, checked.sim, checked.tif, checked.peg, checked.on_kill, checked.unknown_orders)
    assert words == ("paper", "tqsim", "GFD", "join", "flatten", "adopt")
    assert [type(word) for word in words] == [RunMode, SimKind, TimeInForce, Peg, OnKill, UnknownOrders]
    assert msgspec.json.decode(msgspec.json.encode(given), type=GatewayOptions) == checked, "as a child reads them"


@pytest.mark.clock
def test_the_command_line_says_ranges_and_units(capfd, home) -> None:
    for command in (["gateway", "run"], ["trade"], ["paper"]):
        assert run([*command, "--help"]) == 0
        shown = capfd.readouterr().out
        for limit in TRADING_LIMITS:
            assert limit.flag in shown and (limit.choices or limit.unit in shown), limit
    account = ["gateway", "run", "--account", "a", "--mode", "sim"]
    for bad in (["--max-position", "0"], ["--price-collar", "1.5"], ["--on-kill", "x"], ["--daily-loss", "-1"],
                ["--peg", "join", "--symbol", "SHFE.cu2502"], []):  # fmt: skip
        assert run([*account, *bad]) == 2
        assert "Traceback" not in capfd.readouterr().err
