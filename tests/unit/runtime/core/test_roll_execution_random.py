"""Rolls in random order among everything else that goes wrong: the invariants hold, and faults put in are found."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

sys.path.insert(0, str(Path(__file__).parents[4]))  # `tests` is found however pytest was started

from ghtrader_runtime.core import roll_execution as contract_roll
from ghtrader_runtime.core import trading_core as engine
from tests.core_simulation.roll_scenarios import play_rolls, script_of_rolls

SEEDS = 100
FAULTS = (
    ("nothing is ever left", "if symbol != self.state.bound]", "if False]"),
    ("held lots do not count", "net = position.net if position is not None else 0", "net = 0"),
    ("orders out do not count", "len(state.live_orders(symbol))", "0"),
    ("a roll limits nothing", "BlockReason.ROLL, TradingState.REDUCING,", "BlockReason.ROLL, TradingState.ACTIVE,"),
    ("flat before the broker was asked", "asked = BlockReason.RECONCILE not in state.blocks", "asked = True"),
    ("orders of what is left stay at work", "if not order.over and not order.cancel_ns:", "if False:"),
    ("cancelled twice", "if not order.over and not order.cancel_ns:", "if not order.over:"),
    ("targets of what is left stay", "state.targets.pop(symbol, None)", "pass"),
    ("a finished roll is not written", "WriteBinding(state.requested, state.bound), ", ""),
    ("the wrong one is written", "WriteBinding(state.requested, state.bound)", "WriteBinding(state.bound, '')"),
    ("nothing is left as it was", "return self.state.bound is not None and symbol != self.state.bound", "return False"),
    ("a roll never ends", "state.rolling = False\n", "pass\n"),
    ("no contract, and it trades on", "state.block(BlockReason.ROLL, TradingState.HALTED, state.unbound)", "pass"),
    ("the same contract again is a roll", "if bound.symbol == before:", "if False:"),
)  # fmt: skip


def faulty(old: str, new: str) -> type[contract_roll.ContractRoll]:
    """The roll's rules with one place changed."""
    text = Path(contract_roll.__file__).read_text()
    assert text.count(old) == 1, (text.count(old), old)
    module = ModuleType("faulty_rolls")
    exec(compile(text.replace(old, new), "faulty_rolls", "exec"), module.__dict__)
    return module.ContractRoll


def test_nothing_crosses_whatever_happens() -> None:
    events = 0
    for seed in range(SEEDS):
        count, broken = play_rolls(seed, script_of_rolls(seed))
        assert not broken, broken
        events += count
    assert events > 200 * SEEDS


@pytest.mark.parametrize(("name", "old", "new"), FAULTS, ids=[fault[0] for fault in FAULTS])
def test_a_deliberate_fault_is_found(name: str, old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "ContractRoll", faulty(old, new))
    assert any(play_rolls(seed, script_of_rolls(seed))[1] for seed in range(SEEDS)), name
