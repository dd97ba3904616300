"""Scenario files: what is read back, what is refused."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghtrader_base.errors import ConfigError
from ghtrader_exchange.world.scenario import Scenario, parse_scenario
from ghtrader_market.reference.trading_calendar import bundled_calendar

DAYS = bundled_calendar().days(date(2015, 1, 5), date(2026, 6, 1))

scenarios = st.builds(
    lambda varieties, bounds, world, strength, seed, seconds, contracts: Scenario(
        varieties=tuple(varieties),
        start=DAYS[min(bounds)],
        end=DAYS[max(bounds)],
        world=world,
        strength=strength,
        seed=seed,
        snapshot_seconds=seconds,
        contracts=contracts,
    ),
    st.lists(st.sampled_from(["cu", "au", "ag"]), min_size=1, max_size=3, unique=True),
    st.tuples(st.integers(0, len(DAYS) - 1), st.integers(0, len(DAYS) - 1)),
    st.sampled_from(["none", "driver", "sequence"]),
    st.floats(0.0, 2.2),
    st.integers(0, 2**63 - 1),
    st.floats(0.5, 300.0),
    st.integers(2, 8),
)


@given(scenarios)
@settings(max_examples=60, deadline=None)
def test_what_is_written_reads_back_equal(scenario: Scenario) -> None:
    again = parse_scenario(scenario.to_toml())
    assert again == scenario
    assert again.digest == scenario.digest


@given(st.text(max_size=200))
@settings(max_examples=100, deadline=None)
def test_any_text_is_a_scenario_or_a_config_error(text: str) -> None:
    try:
        parse_scenario(text)
    except ConfigError as error:
        assert str(error)


@given(
    st.sampled_from(
        ["varieties", "start", "end", "world", "strength", "seed", "snapshot_seconds", "contracts", "nonsense"]
    ),
    st.sampled_from(
        [
            "true",
            "-1",
            "0",
            '""',
            '"cu"',
            "[]",
            "[1]",
            "nan",
            "inf",
            "1e99",
            "2025-01-01",
            "1.5",
            "{}",
            '["cu","cu"]',
            "9223372036854775808",
        ]
    ),
)
@settings(max_examples=150, deadline=None)
def test_a_wrong_value_is_named_in_the_error(field: str, value: str) -> None:
    try:
        scenario = parse_scenario(f"{field} = {value}\n")
    except ConfigError as error:
        assert error.hint
    else:
        assert parse_scenario(scenario.to_toml()) == scenario


def test_a_missing_and_a_garbled_file_are_config_errors(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        Scenario.from_toml(tmp_path / "absent.toml")
    (tmp_path / "bad.toml").write_bytes(b"\xff\xfe\x00world")
    with pytest.raises(ConfigError, match="cannot read"):
        Scenario.from_toml(tmp_path / "bad.toml")


def test_a_file_survives_the_way_through_the_disk(tmp_path: Path) -> None:
    scenario = Scenario(varieties=("au", "cu"), world="none", seed=7, snapshot_seconds=30.0)
    scenario.write(tmp_path / "s.toml")
    assert Scenario.from_toml(tmp_path / "s.toml") == scenario


def test_whole_numbers_stand_for_floats() -> None:
    assert parse_scenario("strength = 2\nsnapshot_seconds = 3\n") == Scenario(strength=2.0, snapshot_seconds=3.0)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"start": date(2025, 4, 5)}, "not a trading day"),
        ({"start": date(2025, 4, 16), "end": date(2025, 4, 15)}, "after end"),
        ({"start": date(1999, 1, 4)}, "not a trading day"),
        ({"varieties": ("IF",)}, "cannot play IF"),
        ({"varieties": ()}, "no list"),
        ({"world": "zi"}, "unknown world"),
        ({"strength": 2.3}, "strength"),
        ({"strength": float("nan")}, "strength"),
        ({"snapshot_seconds": 0.1}, "snapshot_seconds"),
        ({"seed": True}, "seed"),
        ({"contracts": 1}, "contracts"),
    ],
)
def test_what_makes_no_sense_is_refused(changes: dict, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Scenario(**changes)


def test_every_field_enters_the_digest() -> None:
    base = Scenario()
    for name, value in {
        "varieties": ("au",),
        "start": date(2025, 4, 1),
        "end": date(2025, 4, 14),
        "world": "none",
        "strength": 1.5,
        "seed": 2,
        "snapshot_seconds": 6.0,
        "contracts": 4,
    }.items():
        assert base.with_changes(**{name: value}).digest != base.digest, name
