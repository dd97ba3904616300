"""What sweeps found is read back as it was written, counted over all of a family, and refused where it was edited."""

from __future__ import annotations

import dataclasses
from datetime import date

import pytest

from ghtrader_assets.results.sweeps_store import configurations_tried, load_sweeps, save_sweep
from ghtrader_base.errors import IntegrityError
from ghtrader_base.settings import Settings
from ghtrader_models.evaluation.model_cost import RowLatency
from ghtrader_models.sweep.report import SweepReport
from ghtrader_models.sweep.space import Choice, FloatRange, Space
from ghtrader_models.sweep.trials import TrialEnd, TrialRow

SYMBOL = "KQ.m@SHFE.cu"
SPACE = Space(search={"eta": FloatRange(low=0.1, high=0.2), "max_bin": Choice(values=(32, 64))}, fixed={"rounds": 20})


def trial(number: int, objective: float | None, end: TrialEnd = TrialEnd.COMPLETE) -> TrialRow:
    return TrialRow(
        number=number, end=end, settings={"eta": 0.1 + number / 100, "max_bin": 32}, objective=objective, mean=0.02,
        deviation=0.01, gains=(0.01, 0.03), row_time=RowLatency(p50_us=3.0, p99_us=4.0, calls=100),
    )  # fmt: skip


def report(study: str = "one", family: str = "xgboost") -> SweepReport:
    return SweepReport(
        family=family, symbol=SYMBOL, horizon=50, seed=0, study=study, space=SPACE, caution=1.0, row_limit_us=None,
        days=[date(2025, 4, 1)], origin="simulated <market>", data_hash="d", splits_hash="s", splits="two tests",
        wanted=3, tried=3, importance={"eta": 1.0},
        trials=[trial(0, 0.01), trial(1, 0.03), trial(2, None, TrialEnd.PRUNED)],
    )  # fmt: skip


def test_it_is_read_back_and_counted_by_family(settings: Settings) -> None:
    path = save_sweep(settings, report())
    save_sweep(settings, report("two"))
    save_sweep(settings, report("other", "lightgbm"))
    assert load_sweeps(settings, SYMBOL, 50, "xgboost") == [report(), report("two")]
    assert configurations_tried(settings, SYMBOL, 50, "xgboost") == 6
    assert configurations_tried(settings, SYMBOL, 10, "xgboost") == 0
    page = path.with_suffix(".html").read_text()
    assert "simulated &lt;market&gt;" in page and "data:image/png;base64" in page
    path.write_text(path.read_text().replace('"tried": 3', '"tried": 1'))
    with pytest.raises(IntegrityError, match="was edited"):
        configurations_tried(settings, SYMBOL, 50, "xgboost")


def test_the_best_is_handed_on_to_train() -> None:
    found = report()
    assert found.best.number == 1 and found.ends == {"complete": 2, "pruned": 1}
    assert found.train_settings() == {"preset": "small", "rounds": 20, "eta": 0.11, "max_bin": 32}
    assert found.train_command() == (
        "ghtrader train --model xgboost --symbol KQ.m@SHFE.cu --horizon 50 --preset small "
        "--set rounds=20 --set eta=0.11 --set max_bin=32"
    )
    none = dataclasses.replace(found, trials=[trial(0, None, TrialEnd.PRUNED)])
    assert none.best is None and none.train_settings() == {} and none.train_command() == ""
