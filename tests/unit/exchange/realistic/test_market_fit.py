"""The fit as a file: what is packaged, what reads back equal, what is refused; and the scenarios that carry one."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghtrader_base.errors import ConfigError
from ghtrader_exchange.world.realistic.market_fit import (
    NOT_FITTED,
    MarketFit,
    fit_from_table,
    packaged_fit,
    scaled_spreads,
)
from ghtrader_exchange.world.scenario import Scenario, parse_scenario

REALISTIC = Scenario(world="realistic")


def test_the_packaged_fit_says_where_it_is_from_and_what_it_does_not_fit() -> None:
    fit = packaged_fit()
    assert (fit.source, fit.day) == ("CFFEX.IF2101", date(2021, 1, 4))
    assert fit.not_fitted == NOT_FITTED and any("levels 2 to 5" in line for line in fit.not_fitted)
    assert REALISTIC.fit == fit, "it is what `realistic` plays where no other is given"


def test_a_scenario_carries_its_fit_through_the_disk(tmp_path: Path) -> None:
    other = REALISTIC.with_changes(fit=replace(packaged_fit(), mean_move=3.5))
    other.write(tmp_path / "s.toml")
    assert Scenario.from_toml(tmp_path / "s.toml") == other
    assert other.digest != REALISTIC.digest
    assert parse_scenario('world = "realistic"\n') == REALISTIC


def test_the_other_worlds_take_no_fit() -> None:
    with pytest.raises(ConfigError, match="takes no"):
        Scenario(world="driver", fit=packaged_fit())
    assert "fit" not in Scenario(world="driver").to_toml()


@given(
    st.sampled_from([name for name in MarketFit.__dataclass_fields__ if name not in ("recorded", "played")]),
    st.sampled_from([None, -1, 0, 1e9, "x", [], [[]], [-1.0], ["x"], [float("nan")], True, {}, [1.0] * 2000, 1 << 70]),
)
@settings(max_examples=60, deadline=None)
def test_a_wrong_value_is_a_config_error_and_never_another(name: str, value: object) -> None:
    table = {n: list(v) if isinstance(v, tuple) else v for n, v in packaged_fit().to_dict().items()}
    try:
        made = fit_from_table({**table, name: value})
    except ConfigError as error:
        assert "[fit]" in error.message and error.hint
    else:
        assert isinstance(made, MarketFit)


def test_missing_and_unknown_fields_are_named() -> None:
    table = packaged_fit().to_dict()
    with pytest.raises(ConfigError, match="colour"):
        fit_from_table({**table, "colour": "red"})
    with pytest.raises(ConfigError, match="mean_move"):
        fit_from_table({n: v for n, v in table.items() if n != "mean_move"})
    with pytest.raises(ConfigError, match="no table"):
        parse_scenario('world = "realistic"\nfit = 3\n')


@given(st.lists(st.floats(0.01, 1.0), min_size=1, max_size=8), st.floats(0.05, 3.0))
@settings(max_examples=50, deadline=None)
def test_scaled_spreads_keep_the_mean_of_what_exceeds_a_tick(weights: list[float], scale: float) -> None:
    share = np.array(weights) / sum(weights)
    scaled = scaled_spreads(tuple(share), scale)
    assert scaled.sum() == pytest.approx(1.0) and (scaled >= 0).all()
    assert scaled @ np.arange(scaled.size) == pytest.approx(scale * (share @ np.arange(share.size)))
    assert np.allclose(scaled_spreads(tuple(share), 1.0)[: share.size], share)
