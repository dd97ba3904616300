"""A run thought through again from its own journal: the core's answers and the strategy's decisions, to the last."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ghtrader_base.errors import IntegrityError, UsageError
from ghtrader_models.bundles.bundle import load_bundle
from ghtrader_models.inference.predictors import Predictor
from ghtrader_runtime.runlog.decision_log import replay_decisions
from ghtrader_runtime.runlog.journal import read_factors
from tests.support.lock_step import ROWS, LockStepRun


@pytest.fixture
def run(lock_step: LockStepRun) -> tuple[Path, Path]:
    assert lock_step.summary.fills > 20
    return lock_step.folder, lock_step.model


def test_the_core_answers_the_same_to_the_last_event(run) -> None:
    found = replay_decisions(run[0])
    assert found.difference == "" and found.lives == 1
    assert found.events > 2 * ROWS and found.actions > ROWS, "every book and every target is in it"


def test_a_decision_that_was_not_made_is_found(run, tmp_path: Path) -> None:
    whole = next((run[0] / "mind").glob("*.bin")).read_bytes()
    (tmp_path / "mind").mkdir()
    at = whole.index(b"accepted", len(whole) // 2)
    (tmp_path / "mind" / "000001.bin").write_bytes(whole[:at] + b"refused!" + whole[at + 8 :])
    assert "refused!" in replay_decisions(tmp_path).difference


def test_a_torn_or_foreign_record_is_told(run, tmp_path: Path) -> None:
    whole = next((run[0] / "mind").glob("*.bin")).read_bytes()
    (tmp_path / "mind").mkdir()
    target = tmp_path / "mind" / "000001.bin"
    target.write_bytes(whole[: len(whole) // 2])
    assert replay_decisions(tmp_path).difference == "", "what was written before a kill is whole"
    target.write_bytes(b"\x05\x00\x00\x00hello")
    with pytest.raises(IntegrityError, match="cannot be read"):
        replay_decisions(tmp_path)
    with pytest.raises(UsageError, match="no record"):
        replay_decisions(tmp_path / "nothing")


def test_the_strategys_decisions_follow_from_its_journalled_factors(run) -> None:
    folder, model = run
    bundle = load_bundle(model)
    predictor = Predictor.from_bundle(bundle)
    kept = read_factors(folder / "strategy")
    warm = np.isfinite(kept["probabilities"]).all(axis=1)
    assert warm.sum() > ROWS - 50
    target = 0
    for row, known, wanted, is_warm in zip(
        kept["factors"], kept["probabilities"], kept["target"], warm, strict=True
    ):  # fmt: skip
        if is_warm:
            again = predictor.predict_row(row)
            assert again.tobytes() == known.tobytes(), "bit for bit"
            target = bundle.policy.decide(*(float(p) for p in again), target)
        assert target == wanted
