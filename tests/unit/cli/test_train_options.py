"""Options of `train` and `benchmark` that set what a family is trained with."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest

from ghtrader.commands.train import family_settings
from ghtrader_base.errors import UsageError
from ghtrader_models.families.base import get_family, make_config
from ghtrader_models.families.table import FAMILIES
from tests.support.cli import ghtrader

NUMBERS: dict[str, Any] = {"--epochs": None, "--batch-size": None, "--seq-len": None, "--lr": None}


def test_options_are_the_fields_of_the_family() -> None:
    numbers = {"--epochs": 3, "--batch-size": 64, "--seq-len": 50, "--lr": 0.01}
    found = family_settings("tcn", "paper", numbers, ["channels=8", "dropout = 0.2", "loss=focal", 'loss="weighted"'])
    assert found == {
        "preset": "paper", "max_epochs": 3, "batch_size": 64, "length": 50, "learning_rate": 0.01, "channels": 8,
        "dropout": 0.2, "loss": "weighted",
    }  # fmt: skip
    config: Any = make_config(get_family("tcn"), found)
    assert (config.length, config.channels, config.loss) == (50, 8, "weighted") and config.max_windows == 1_000_000
    assert family_settings("xgboost", "", {**NUMBERS, "--lr": 0.2}, []) == {"eta": 0.2}
    assert family_settings("logistic", "", NUMBERS, []) == {}
    for text in ("50", "10,50"):
        assert family_settings("ssm", "", NUMBERS, [f"auxiliary_horizons={text}"]) == {"auxiliary_horizons": text}


@pytest.mark.clock
@pytest.mark.parametrize(
    ("family", "options", "said"),
    [
        ("logistic", ["--epochs", "3"], "logistic has no --epochs"),
        ("tcn", ["--set", "depth=3"], "no setting depth"),
        ("tcn", ["--set", "channels"], "is no setting"),
        ("tcn", ["--set", "channels=wide"], "channels is 'wide'"),
        ("tcn", ["--preset", "huge"], "no preset 'huge'"),
        ("tcn", ["--batch-size", "0"], "batch-size"),
        ("tcn", ["--devices", "0"], "devices"),
        ("lightgbm", ["--devices", "2"], "several devices"),
    ],
)
def test_what_a_family_does_not_take_is_wrong_usage(family: str, options: list[str], said: str, tmp_path: Any) -> None:
    done = ghtrader("train", "--model", family, "--var", "cu", "--home", str(tmp_path), *options)
    assert done.returncode == 2 and said in done.stderr, done.stderr
    with pytest.raises(UsageError):
        family_settings("logistic", "", {**NUMBERS, "--seq-len": 3}, [])


def _numbers_without_meaning() -> Iterator[tuple[str, str]]:
    for family in FAMILIES:
        config: Any = get_family(family).config()
        for field in dataclasses.fields(config):
            if isinstance(getattr(config, field.name), float):
                yield from ((family, f"{field.name}={bad}") for bad in ("nan", "inf", "-1.0"))
            if field.name == "dropout":
                yield family, "dropout=1.0"
        yield from ((family, change) for change in ("stride=0", "stride=-1"))
    yield from (("logistic", change) for change in ("c=0.0", "clip=0.0", "memory=-1", "max_iterations=0"))
    for family in ("xgboost", "lightgbm"):
        more = ("rounds=0", "max_bin=1", "subsample=0.0", "subsample=1.5", "colsample_bytree=1.1", "nthread=0")
        yield from ((family, change) for change in more)


def test_numbers_that_no_training_can_mean_are_refused_before_it() -> None:
    """Several libraries take them and give a model that looks like any other: a negative stride turns weights round."""
    taken = []
    for family, change in _numbers_without_meaning():
        with contextlib.suppress(UsageError):
            family_settings(family, "", NUMBERS, [change])
            taken.append((family, change))
    assert taken == []
