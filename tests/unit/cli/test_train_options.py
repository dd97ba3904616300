"""Options of `train` and `benchmark` that set what a family is trained with."""

from __future__ import annotations

from typing import Any

import pytest

from ghtrader.commands.train import family_settings
from ghtrader_base.errors import UsageError
from ghtrader_models.families.base import get_family, make_config
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
