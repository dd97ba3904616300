"""Horizons of a home: those its settings name and those that were built have partitions; others are refused by name."""

from __future__ import annotations

import json
from datetime import date, datetime
from pathlib import Path

import pytest

from ghtrader_assets.label_horizons import built_horizons, horizons_of_home, horizons_of_settings, parse_horizons
from ghtrader_assets.partitions import build_partitions
from ghtrader_assets.runs import flows
from ghtrader_base.errors import ConfigError, UsageError
from ghtrader_base.settings import Settings, load_settings
from ghtrader_market.reference.trading_calendar import SHANGHAI, bundled_calendar
from ghtrader_market.stores.lake.lake import Lake

pytestmark = pytest.mark.clock  # partitions reach up to today

SYMBOL = "KQ.m@SHFE.cu"
SPEC = {"definition": "mid_move", "threshold_ticks": 1}


def labels_of(settings: Settings, *horizons: list[int], symbol: str = SYMBOL) -> Path:
    """The series manifest as `build` leaves it, one configuration each."""
    path = Lake(settings.data).key_path("labels", symbol) / "manifest.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"configurations": {str(n): {**SPEC, "horizons": h} for n, h in enumerate(horizons)}}))
    return path


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(tmp_path)


@pytest.mark.clock
def test_partitions_come_from_the_setting_and_from_what_is_built(settings: Settings) -> None:
    assert horizons_of_home(settings, ("cu", "au")) == (10, 50, 200)
    labels_of(settings, [10, 30, 50], [5])
    labels_of(settings, [75], symbol="KQ.m@SHFE.au")
    assert built_horizons(Lake(settings.data), SYMBOL) == (5, 10, 30, 50)
    assert horizons_of_home(settings, ("cu", "au")) == (5, 10, 30, 50, 75, 200)
    assert horizons_of_home(settings, ("cu",)) == (5, 10, 30, 50, 200)
    own = settings.model_copy(update={"horizons": "20, 10,20"})
    assert horizons_of_settings(own) == (10, 20) and horizons_of_home(own, ("ag",)) == (10, 20)
    found = build_partitions(
        bundled_calendar(), ("cu",), datetime(2025, 3, 3, 17, 30, tzinfo=SHANGHAI), date(2025, 1, 2),
        horizons_of_home(settings, ("cu",)),
    )  # fmt: skip
    assert found.horizon_variety.has_partition_key("30|cu") and not found.horizon_variety.has_partition_key("75|cu")


@pytest.mark.parametrize("damage", ["{", "[]", '{"configurations": 3}', '{"configurations": {"a": {"horizons": [0]}}}'])
def test_a_damaged_manifest_of_a_series_never_stops_the_graph_from_loading(settings: Settings, damage: str) -> None:
    labels_of(settings).write_text(damage)
    assert horizons_of_home(settings, ("cu",)) == (10, 50, 200)


@pytest.mark.parametrize("text", ["", "a", "0", "10,-5", "1000000", "10;50"])
def test_nonsense_is_named_with_where_it_stands(settings: Settings, text: str) -> None:
    with pytest.raises(UsageError, match="--horizons") as said:
        parse_horizons(text, "--horizons")
    assert "10" in said.value.hint
    with pytest.raises(ConfigError, match="GHTRADER_HORIZONS"):
        horizons_of_settings(settings.model_copy(update={"horizons": text}))


@pytest.mark.clock
def test_a_horizon_that_was_not_built_is_refused_before_a_run(settings: Settings) -> None:
    labels_of(settings, [10, 50])
    with pytest.raises(UsageError, match="no labels at horizon 30 for KQ.m@SHFE.cu; built are 10, 50") as said:
        flows.train_family(settings, "logistic", "cu", 30)
    assert "--horizons 10,30,50 --overwrite" in said.value.hint
    with pytest.raises(UsageError, match="no labels at horizon 200 .* built are 10, 50"):
        flows.benchmark_families(settings, ["logistic"], "cu", [10, 200])
    with pytest.raises(UsageError, match="no labels of KQ.m@SHFE.ag are built, at horizon 7"):
        flows.train_family(settings, "logistic", "ag", 7)
    labels_of(settings, [7, 10])  # by another process, after this one loaded the graph
    with pytest.raises(UsageError, match="horizon 7 of KQ.m@SHFE.cu was built since this process"):
        flows.train_family(settings, "logistic", "cu", 7)


def test_horizons_with_another_between_them_are_runs_of_their_own() -> None:
    assert flows.neighbouring([10, 50, 200], [10, 50, 200]) == [[10, 50, 200]]
    assert flows.neighbouring([10, 50, 200], [10, 30, 50, 200]) == [[10], [50, 200]]
    assert flows.neighbouring([50], [10, 50]) == [[50]]
