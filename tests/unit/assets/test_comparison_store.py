"""Which stored reports a comparison takes: those of its own tests, settings, seed, version and trading alone."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from ghtrader_assets.results.comparable_reports import with_defaults
from ghtrader_assets.results.comparison_store import WantedTests, compare_stored, of_other_code, why_not
from ghtrader_assets.results.reports_store import readable_reports, save_report
from ghtrader_base.errors import FailedError
from ghtrader_base.settings import Settings, load_settings
from ghtrader_base.version import code_version
from ghtrader_models.evaluation.policy_fit import PolicyOptions
from ghtrader_models.families.base import Preset, get_family
from tests.unit.assets.test_reports_store import CONTEXT, SYMBOL, report, scores

MADE = dataclasses.replace(report(), uncalibrated=scores(), config=get_family("logistic").config())
TRADED = dataclasses.replace(CONTEXT, latency_ms=20.0)
WANTED = WantedTests(splits_hash="s", data_hash="d", latency_ms=20.0, seed=3)


@pytest.fixture
def settings(tmp_path) -> Settings:
    return load_settings(tmp_path)


def test_a_number_for_a_setting_that_is_text_goes_to_a_run_as_text() -> None:
    wanted = dataclasses.replace(WANTED, changes={"tcn": {"auxiliary_horizons": 10}})
    assert wanted.settings_of("tcn") == {"preset": "small", "auxiliary_horizons": "10"}


def test_a_configuration_without_fields_that_came_later_has_their_defaults() -> None:
    usual = dataclasses.asdict(get_family("tcn").config())
    older = {name: value for name, value in usual.items() if not name.startswith(("auxiliary", "pretrain"))}
    assert older != usual and with_defaults("tcn", older) == usual and with_defaults("tcn", {}) == {}


@pytest.mark.parametrize(
    ("wanted", "made", "context", "why"),
    [
        ({}, {}, {}, ""),
        ({"splits_hash": "t"}, {}, {}, "other splits"),
        ({"data_hash": "e"}, {}, {}, "other days, features or labels"),
        ({"preset": "paper"}, {}, {}, "other settings than the preset paper"),
        ({"preset": "paper"}, {"config": get_family("logistic").config(Preset.PAPER)}, {}, ""),
        ({}, {"config": dataclasses.replace(get_family("logistic").config(), c=50.0)}, {}, "other settings"),
        ({"changes": {"logistic": {"c": 50.0}}}, {}, {}, "other settings than the preset small, c=50.0"),
        (
            {"changes": {"logistic": {"c": 50.0}}},
            {"config": dataclasses.replace(get_family("logistic").config(), c=50.0)},
            {},
            "",
        ),
        ({"seed": 4}, {}, {}, "another seed"),
        ({}, {"policy": PolicyOptions(quantile=0.5)}, {}, "policy"),
        ({}, {"uncalibrated": None}, {}, "did not calibrate"),
        ({"latency_ms": 300.0}, {}, {}, "300 ms late"),
        ({}, {}, {"latency_ms": None}, "20 ms late"),
        ({"max_order": 2}, {}, {}, "2 lots at most"),
        ({"max_order": 2}, {}, {"max_order": 2}, ""),
    ],
)
@pytest.mark.clock
def test_a_report_of_anything_else_stands_in_no_comparison(
    settings, wanted: dict[str, Any], made: dict[str, Any], context: dict[str, Any], why: str
) -> None:
    save_report(settings, dataclasses.replace(MADE, **made), dataclasses.replace(TRADED, **context))
    (kept,) = readable_reports(settings, SYMBOL, 50).reports
    asked = dataclasses.replace(WANTED, **wanted)
    found = why_not(kept, asked)
    assert (found == "") == (why == "") and why in found
    if why:  # nor in one of a family whose own benchmark failed just now
        with pytest.raises(FailedError, match="nothing to compare: logistic: out of memory"):
            compare_stored(settings, SYMBOL, 50, ["logistic"], asked, {"logistic": "out of memory"})


@pytest.mark.clock
def test_what_other_code_made_is_named_and_how_it_is_made_anew(settings) -> None:
    for made_by, said in (
        ("0.0.1+abc", "made by other code: benchmark by ghtrader 0.0.1+abc; --again makes it anew"),
        (code_version(), ""),
    ):
        save_report(settings, MADE, dataclasses.replace(TRADED, code_version=made_by))
        (kept,) = readable_reports(settings, SYMBOL, 50).reports
        assert of_other_code(kept, None) == said
