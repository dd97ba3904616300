"""Runs other demos: without a signal, the default seed a second time, another seed."""

from __future__ import annotations

import pytest

from ghtrader.demo.effort import FULL

pytestmark = pytest.mark.timeout(2400)


def test_without_a_signal_nothing_is_promoted(demos) -> None:
    half = demos("--no-signal").report["simulated"]
    assert half["world"] == "none" and half["champion"] is None and half["trading"] is None
    assert half["refused_because"]
    for family in FULL.families:
        for horizon, scores in half["models"][family].items():
            assert scores["logloss_gain"]["low"] <= 0, (family, horizon)


def test_the_same_seed_gives_the_same_contents(default_demo, demos) -> None:
    again = demos(again=True).report
    for half in ("simulated", "real"):
        assert again[half]["hashes"] == default_demo.report[half]["hashes"]
        assert again[half]["models"] == default_demo.report[half]["models"]


def test_another_seed_gives_other_contents(default_demo, demos) -> None:
    other = demos("--seed", "2").report
    for name, value in default_demo.report["simulated"]["hashes"].items():
        assert other["simulated"]["hashes"][name] != value, name
