"""A factor set of the user's own, from a file to a model that trades: every step by the command, no code of ours."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ghtrader.cli import run
from ghtrader_base.settings import Settings
from ghtrader_market.main_series.main_l5 import build_main_l5
from ghtrader_market.reference.roll_schedule import save_schedule, schedule_from_open_interest
from ghtrader_market.reference.tick_schema import table_from_values
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_models.factors.library.sets import get_factor_set
from ghtrader_runtime.runlog.journal import read_factors
from tests.support.runtime_kit import session_times, synthetic_values

pytestmark = pytest.mark.clock

CONTRACT, SERIES, ROWS = "SHFE.cu2506", "KQ.m@SHFE.cu", 900
CALENDAR = bundled_calendar()
DAYS = CALENDAR.days(date(2025, 4, 9), date(2025, 4, 14))
MINE = """
[mine]
lean_1 = "Imbalance(1)"
lean_mean = { expression = "Mean(Imbalance(1), '15s')", doc = "Leaning of the touch over a quarter of a minute." }
moves = "Sub(Ema(Mid(), 5), Ema(Mid(), 40))"
place = "SessionTime()"
"""


@pytest.fixture
def recorded(settings: Settings) -> Settings:
    """Some days of one contract, up to main_l5."""
    lake = Lake(settings.data)
    for number, day in enumerate(DAYS):
        ticks = table_from_values(
            np.arange(ROWS) + ROWS * number, session_times(CONTRACT, day, ROWS), synthetic_values(ROWS, number)
        )
        lake.write_day("ticks", CONTRACT, day, ticks, source="recording:test")
    none = pa.table({"symbol": pa.array([], pa.string()), "trading_day": [], "open_interest": []})
    save_schedule(lake.root, schedule := schedule_from_open_interest("cu", none, dict.fromkeys(DAYS, CONTRACT)))
    build_main_l5(lake, CALENDAR, schedule, DAYS).raise_if_failed()
    return settings


def test_from_a_file_to_a_model_that_trades(
    recorded: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    file, lake = tmp_path / "mine.toml", Lake(recorded.data)
    build = ["build", "--var", "cu", "--accept-quality"]

    file.write_text(MINE.replace("Ema(Mid(), 40)", "Ema(Mid(), 40"))
    assert run([*build, "--factors", str(file)]) == 2
    assert f"{file}, line 5, column" in capfd.readouterr().err
    monkeypatch.setenv("GHTRADER_FACTORS", str(file))
    file.write_text(MINE.replace("Mean(", "Maen("))
    assert run([*build, "--factors", "mine"]) == 2
    said = capfd.readouterr().err
    assert "line 4, column 29: factor lean_mean: unknown name 'Maen'" in said and "Mean" in said
    assert lake.days("features", SERIES) == []

    file.write_text(MINE)
    assert run(["factors", "list", "--set", "mine"]) == run(["factors", "explain", "moves"]) == 0
    assert run([*build, "--factors", "mine"]) == 0 and lake.days("features", SERIES) == DAYS
    monkeypatch.delenv("GHTRADER_FACTORS")
    mine = get_factor_set(str(file))
    assert lake.manifest("features", SERIES, DAYS[0]).features.spec_hash == mine.spec_hash
    assert run([*build, "--factors", str(file)]) == 0, "the same set, named by its file: nothing to do"
    assert run([*build, "--factors", "lean"]) == 3 and "another configuration" in capfd.readouterr().err

    assert run(["benchmark", "--model", "logistic", "--var", "cu", "--horizon", "10"]) == 0
    assert run(["train", "--model", "logistic", "--var", "cu", "--horizon", "10"]) == 0
    file.unlink()  # from here on the bundle speaks for itself
    capfd.readouterr()
    assert run(["models", "list", "--json"]) == 0
    (bundle,) = json.loads(capfd.readouterr().out)["bundles"]
    assert bundle["factors"] == 4
    assert run(["paper", "--var", "cu", "--day", str(DAYS[-1]), "--model", bundle["id"], "--json"]) == 0
    (summary,) = json.loads(capfd.readouterr().out)["days"]
    kept = read_factors(Path(summary["folder"]) / "strategy")
    stored = lake.read_day("features", SERIES, DAYS[-1])
    batch = np.stack([stored[name].to_numpy() for name in mine.names], axis=1)
    assert kept["factors"].tobytes() == batch.tobytes() and np.isfinite(kept["probabilities"][-100:]).all()
