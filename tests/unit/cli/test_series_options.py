"""Which variety or contract --var, --symbol and --ticks-kind name together; what contradicts is refused by name."""

from __future__ import annotations

import pytest
import typer

from ghtrader.cli import build_app
from ghtrader.commands.shared_options import series_of, variety_key
from ghtrader.reference_docs import _walk
from ghtrader_base.errors import UsageError

SERIES = "KQ.m@SHFE.cu"


@pytest.mark.parametrize(("var", "symbol"), [("cu", ""), ("", SERIES), ("cu", SERIES)])
def test_a_variety_by_either_option_or_both(var: str, symbol: str) -> None:
    assert variety_key(var, symbol) == "cu"
    for kind in ("", "main", "main_l5"):
        assert series_of(var, symbol, kind) == ("cu", "")


def test_one_contract(capsys: pytest.CaptureFixture[str]) -> None:
    for var in ("", "cu"):
        for kind in ("", "raw"):
            assert series_of(var, "SHFE.cu2502", kind) == ("cu", "SHFE.cu2502")


@pytest.mark.parametrize(
    ("named", "told"),
    [
        (("au", SERIES), "--symbol KQ.m@SHFE.cu is of cu, --var says au"),
        (("au", "SHFE.cu2502"), "--symbol SHFE.cu2502 is of cu, --var says au"),
        (("cu", "SHFE.cu2502", "main_l5"), "SHFE.cu2502 has no main_l5 ticks"),
        (("", SERIES, "raw"), "KQ.m@SHFE.cu has no raw ticks"),
        (("cu", "", "raw"), "KQ.m@SHFE.cu has no raw ticks"),
        (("cu", "", "l5"), "no ticks kind 'l5'"),
        (("", ""), "name one variety"),
    ],
)
def test_what_contradicts_is_refused_by_name(named: tuple[str, ...], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        series_of(*named)


def test_a_command_on_the_main_series_takes_no_contract() -> None:
    for var in ("", "cu"):
        with pytest.raises(UsageError, match="SHFE.cu2502 is one contract; this command works on the main series"):
            variety_key(var, "SHFE.cu2502")


def test_every_command_that_takes_a_variety_takes_its_symbol_too() -> None:
    """`data import` names what a file does not say; that is another use of the two."""
    seen = 0
    for name, command in _walk(typer.main.get_command(build_app())):
        options = {option for parameter in command.params for option in parameter.opts}
        if "--var" in options:
            seen += 1
            assert "--symbol" in options, name
    assert seen > 15
