"""Gateway and strategy as real processes on recorded days: determinism, factors, refusals, the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ghtrader.cli import run
from ghtrader.commands.trading_options import describe
from ghtrader_base.errors import IntegrityError, KillSwitchError, LockHeldError, RefusedError, UsageError
from ghtrader_base.lock_keys import trade_key, trade_strategy_key
from ghtrader_base.locks import resource_lock
from ghtrader_market.reference.tick_schema import values_matrix
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_models.factors.engine import FactorEngine
from ghtrader_runtime.accounts.account import account_ref
from ghtrader_runtime.accounts.order_ledger import read_ledger
from ghtrader_runtime.operator_views import kill_commands
from ghtrader_runtime.replay.recorded_days import block_start_ns, paper_day
from ghtrader_runtime.runlog.journal import read_factors, read_lines
from ghtrader_runtime.runlog.summary import read_summary
from tests.support.lock_step import CONTRACT, DAY, ROWS, LockStepRun
from tests.support.runtime_kit import tiny_factor_set, write_day, write_tiny_bundle
from tests.support.waiting import PATIENCE_S


@pytest.fixture
def model(settings) -> str:
    write_day(settings, CONTRACT, DAY, ROWS)
    return str(write_tiny_bundle(settings.models, enter=0.7, leave=0.2))


def test_a_day_in_lock_step_is_the_same_twice_and_its_factors_are_the_batchs(lock_step: LockStepRun) -> None:
    settings, first = lock_step.settings, lock_step.summary
    second = paper_day(settings, "cu", DAY, model=str(lock_step.model), rate_orders=10**6)
    # A target that was not acknowledged in time, on a busy machine, is sent again.
    assert first.ticks == first.targets - first.duplicates == ROWS == first.tick_to_target_ms.count
    assert first.round_trips > 5 and first.tick_to_target_ms.unanswered == 0
    plain = [[(f.side, f.offset, f.volume, f.price, f.market_ns) for f in run.fill_list]
             for run in (first, second)]  # fmt: skip
    assert plain[0] == plain[1]
    assert first.net_pnl == second.net_pnl and first.fees > 0
    table = Lake(settings.data).read_day("main_l5", "KQ.m@SHFE.cu", DAY)
    times = table.column("datetime_ns").to_numpy()
    bounds = bundled_calendar().sessions("cu", DAY)
    batch = FactorEngine(tiny_factor_set(), 10.0, 5, bounds).batch(times, values_matrix(table))
    kept = read_factors(first.folder / "strategy")
    assert kept["factors"].tobytes() == batch.tobytes()
    assert kept["datetime_ns"].tolist() == times.tolist() and kept["live"].all()
    net = sum(fill.signed for fill in first.fill_list)
    assert first.positions == {CONTRACT: net} and abs(net) <= 1


def test_the_last_block_starts_warm_and_every_order_has_its_intent(settings, model) -> None:
    start = block_start_ns(Lake(settings.data), "KQ.m@SHFE.cu", DAY, 3)
    end = int(Lake(settings.data).read_day("main_l5", "KQ.m@SHFE.cu", DAY)["datetime_ns"][-20].as_py())
    run = paper_day(settings, "cu", DAY, model=model, blocks=3, flat_from_ns=end, rate_orders=10**6, pace=400.0)
    assert run.ticks == ROWS // 3 and run.positions == {CONTRACT: 0}
    kept = read_factors(run.folder / "strategy")
    assert len(kept["id"]) == ROWS and kept["live"].sum() == ROWS // 3
    assert kept["datetime_ns"][kept["live"]][0] == start
    assert np.isfinite(kept["probabilities"][kept["live"]]).all(), "the block's first tick is warm"
    state = read_ledger(account_ref(settings, "paper", "paper").state_dir)
    sent = [line["id"] for line in read_lines(run.folder / "orders.jsonl") if line["kind"] == "sent"]
    assert len(sent) == len(set(sent)) == run.orders == state.closed and not state.open


def test_limits_hold_and_refusals_are_told(settings, model) -> None:
    run = paper_day(settings, "cu", DAY, model=model, rate_orders=4)
    minute = 60 * 10**9
    lines = [line for line in read_lines(run.folder / "orders.jsonl") if line["kind"] == "sent"]
    sent = [line["market_ns"] for line in lines]
    opened = [place for place, line in enumerate(lines) if line["offset"] == "OPEN"]
    assert all(sum(t > sent[i] - minute for t in sent[: i + 1]) <= 4 for i in opened) and len(sent) > 20
    most = max(sum(a <= t < a + minute for t in sent) for a in sent)
    assert most <= 5, "what only closes the one lot is not kept from leaving"
    events = read_lines(run.folder / "events.jsonl")
    assert any("4 allowed" in line["reason"] for line in events if line["kind"] == "order-refused")
    assert run.refused == sum(line["kind"] == "order-refused" for line in events) > 0
    again = paper_day(settings, "cu", DAY, model=model, rate_orders=4)
    assert [(f.market_ns, f.price, f.volume) for f in again.fill_list] == [
        (f.market_ns, f.price, f.volume) for f in run.fill_list
    ], "orders of an earlier run of the same day count for nothing"
    assert (again.orders, again.refused, again.net_pnl) == (run.orders, run.refused, run.net_pnl)


def test_a_tripped_switch_and_a_held_account_are_refused(settings, model) -> None:
    kill_commands.trip(settings, "paper", "a test", "paper")
    with pytest.raises(KillSwitchError, match="a test"):
        paper_day(settings, "cu", DAY, model=model)
    kill_commands.reset(settings, "paper", "over", "paper")
    folder = account_ref(settings, "paper", "paper").state_dir
    with (
        resource_lock(folder, trade_key("paper"), "another gateway"),
        pytest.raises(LockHeldError, match="another gateway"),
    ):
        paper_day(settings, "cu", DAY, model=model)
    held = resource_lock(folder, trade_strategy_key("paper"), "another strategy")
    with held, pytest.raises(LockHeldError, match="another strategy"):
        paper_day(settings, "cu", DAY, model=model)


def test_what_cannot_start_says_why(settings, model) -> None:
    with pytest.raises(UsageError, match="no model bundle"):
        paper_day(settings, "cu", DAY, model="nothing")
    with pytest.raises(UsageError, match="no champion"):
        paper_day(settings, "cu", DAY)
    (Path(model) / "policy.json").write_text("{}")
    with pytest.raises(IntegrityError, match="policy.json"):
        paper_day(settings, "cu", DAY, model=model)


def test_a_model_of_another_variety_is_refused(settings, model) -> None:
    other = write_tiny_bundle(settings.models, symbol="KQ.m@SHFE.au", price_tick=0.02)
    with pytest.raises(RefusedError, match="KQ.m@SHFE.au"):
        paper_day(settings, "cu", DAY, model=str(other))


def test_the_command_line(settings, model, capfd) -> None:
    def typed(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = run(list(arguments))
        return code, *capfd.readouterr()

    trained = str(write_tiny_bundle(settings.models, enter=0.7, leave=0.2, days=[DAY]))
    code, told, _ = typed("paper", "--var", "cu", "--model", trained, "--last-block", "10", "--json")
    assert code == 0
    answer = json.loads(told)
    assert answer["ticks"] == ROWS // 10 and answer["days"][0]["trading_day"] == str(DAY)
    kept = read_summary(Path(answer["days"][0]["folder"]))
    assert kept is not None and answer["sample"] == answer["days"][0]["sample"] == kept.sample == "in sample"
    assert f"sample      in sample: bundle {Path(trained).name} was trained on {DAY} to {DAY}" in describe(kept)
    assert typed("kill", "trip", "--account", "paper", "--reason", "a test")[0] == 0
    status = json.loads(typed("kill", "status", "--account", "paper", "--json")[1])
    assert status["tripped"] and {row["reason"] for row in status["brokers"]} == {"a test"}
    code, _, told = typed("paper", "--var", "cu", "--model", model)
    assert code == 3 and "kill reset" in told and "Traceback" not in told
    assert typed("kill", "reset", "--account", "paper", "--reason", "over")[0] == 0
    for arguments, expected in (
        (("paper", "--var", "zz"), 2),
        (("paper", "--var", "cu", "--day", "2025-01-04"), 2),
        (("trade", "--account", "a", "--mode", "live", "--symbol", CONTRACT), 3),
        (("gateway", "run", "--account", "a", "--mode", "sim", "--symbol", CONTRACT), 2),
        (("gateway", "run", "--account", "a", "--mode", "nonsense", "--symbol", CONTRACT), 2),
        (("gateway", "run", "--account", "a", "--mode", "sim", "--symbol", "KQ.m@SHFE.cu"), 3),
    ):
        code, _, told = typed(*arguments)
        assert code == expected and "error:" in told and "Traceback" not in told, told


def test_the_command_in_a_process_of_its_own(settings, model) -> None:
    command = [sys.executable, "-m", "ghtrader", "paper", "--var", "cu", "--day", "2025-01-04"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 2 and "error:" in done.stderr and "Traceback" not in done.stderr, done.stderr
