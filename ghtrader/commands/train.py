"""Defines `train` and `benchmark`: fits a model family on built days, or judges it walk-forward."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ghtrader.commands.shared_options import (
    AnySeriesOption,
    EndOption,
    HomeOption,
    JsonOption,
    MixOption,
    StartOption,
    StrictOption,
    TicksKindOption,
    VarietyOption,
    optional_day,
    series_of,
    settings_of,
)
from ghtrader.output import emit_runs, progress_display
from ghtrader_base.errors import UsageError
from ghtrader_base.settings import Settings
from ghtrader_models.families.table import FAMILIES, family_names

if TYPE_CHECKING:
    from ghtrader_assets.runs.execute import Progress, RunResult
    from ghtrader_assets.runs.series_runs import SeriesRuns
    from ghtrader_models.evaluation.policy_fit import PolicyOptions

ModelOption = Annotated[str, typer.Option("--model", help=f"Family: {', '.join(family_names())}.")]
HorizonOption = Annotated[int, typer.Option("--horizon", help="Label horizon in ticks, one that was built.")]

MaxLotsOption = Annotated[int, typer.Option("--max-lots", min=1, help="Policy: lots of a position at the most.")]
SizedOption = Annotated[bool, typer.Option("--sized", help="Policy: lots grow with the edge, up to --max-lots.")]
CostAwareOption = Annotated[
    bool, typer.Option("--cost-aware", help="Policy: enter only where the promised move exceeds spread and fees.")
]
CooldownOption = Annotated[
    int, typer.Option("--cooldown", min=0, help="Policy: ticks after leaving in which nothing is entered.")
]
PresetOption = Annotated[
    str, typer.Option("--preset", help="Size of the family to start from: small (the default), or paper.")
]
EpochsOption = Annotated[int | None, typer.Option("--epochs", min=1, help="Networks: epochs at the most.")]
BatchSizeOption = Annotated[int | None, typer.Option("--batch-size", min=1, help="Networks: windows a step.")]
SeqLenOption = Annotated[int | None, typer.Option("--seq-len", min=1, help="Networks: rows of a window.")]
RateOption = Annotated[float | None, typer.Option("--lr", help="Networks and boosted trees: the learning rate.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Any other setting of the family; may be given several times."),
]
DevicesOption = Annotated[
    int, typer.Option("--devices", min=1, help="Networks: processes that train together (DDP), one a GPU if any.")
]
_FIELDS = {
    "--epochs": ("max_epochs",),
    "--batch-size": ("batch_size",),
    "--seq-len": ("length",),
    "--lr": ("learning_rate", "eta"),
}
"""Option -> the names that families give it."""


def _family(name: str) -> str:
    if name not in FAMILIES:
        raise UsageError(f"no model family {name!r}", f"there are: {', '.join(FAMILIES)}")
    return name


def setting_of(text: str) -> tuple[str, Any]:
    """Name and value of a ``name=value``, the value as TOML has it or a bare word; `UsageError` where it is none."""
    name, equals, said = text.partition("=")
    if not equals or not name.strip():
        raise UsageError(f"--set {text} is no setting", "write --set name=value")
    try:
        value = tomllib.loads(f"value = {said}")["value"]
    except tomllib.TOMLDecodeError:
        value = said
    return name.strip(), value


def family_settings(
    family: str, preset: str, numbers: Mapping[str, int | float | None], changes: Sequence[str], devices: int = 1
) -> dict[str, bool | int | float | str]:
    """What options say of a family's configuration, as a run's config takes it.

    Parameters
    ----------
    family : str
    preset : str
        Empty for the usual one.
    numbers : mapping
        Option -> its value, None where it was not given.
    changes : sequence of str
        ``name=value`` each, the value as TOML has it or a bare word.
    devices : int
        Processes that are to train together.

    Raises
    ------
    UsageError
        A setting the family does not have, a value it does not take, or several devices for one that has no epochs.
    """
    from ghtrader_models.families.base import get_family, make_config
    from ghtrader_models.families.window_config import require_devices

    learner = get_family(family)
    known = {field.name for field in dataclasses.fields(learner.config())}
    found: dict[str, bool | int | float | str] = {"preset": preset} if preset else {}
    given = {option: number for option, number in numbers.items() if number is not None}
    for option, number in given.items():
        field = next((name for name in _FIELDS[option] if name in known), None)
        if field is None:
            raise UsageError(f"{family} has no {option}", f"--set takes: {', '.join(sorted(known))}")
        found[field] = number
    found |= dict(map(setting_of, changes))
    config = make_config(learner, found)
    require_devices(family, config, devices)
    return {name: getattr(config, name, value) for name, value in found.items()}


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What both commands are asked for: a family at a horizon, on a variety or one contract, and with what policy."""

    settings: Settings
    family: str
    variety: str
    contract: str
    horizon: int
    start: date | None
    end: date | None
    seed: int
    strict: bool
    mix: bool
    policy: PolicyOptions
    family_settings: dict[str, bool | int | float | str]
    devices: int


def _model_options(work: Callable[[_Asked, Progress], list[RunResult]]) -> Callable[..., None]:
    """The command that reads the options both commands take, does `work` and prints its run."""

    def command(
        model: ModelOption,
        var: VarietyOption = "",
        symbol: AnySeriesOption = "",
        ticks_kind: TicksKindOption = "",
        horizon: HorizonOption = 50,
        start: StartOption = "",
        end: EndOption = "",
        seed: Annotated[int, typer.Option("--seed", help="Seed of each fit.")] = 0,
        strict: StrictOption = False,
        mix: MixOption = False,
        max_lots: MaxLotsOption = 1,
        sized: SizedOption = False,
        cost_aware: CostAwareOption = False,
        cooldown: CooldownOption = 0,
        preset: PresetOption = "",
        epochs: EpochsOption = None,
        batch_size: BatchSizeOption = None,
        seq_len: SeqLenOption = None,
        lr: RateOption = None,
        changes: SetOption = None,
        devices: DevicesOption = 1,
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        settings = settings_of(home)
        key, contract = series_of(var, symbol, ticks_kind)
        first, last = optional_day(start, "--start"), optional_day(end, "--end")
        family = _family(model)

        from ghtrader_models.evaluation.policy_fit import PolicyOptions

        numbers = {"--epochs": epochs, "--batch-size": batch_size, "--seq-len": seq_len, "--lr": lr}
        asked = _Asked(
            settings=settings,
            family=family,
            variety=key,
            contract=contract,
            horizon=horizon,
            start=first,
            end=last,
            seed=seed,
            strict=strict,
            mix=mix,
            policy=PolicyOptions(max_lots=max_lots, sized=sized, cost_aware=cost_aware, cooldown=cooldown),
            family_settings=family_settings(family, preset, numbers, changes or (), devices),
            devices=devices,
        )
        with progress_display() as progress:
            runs = work(asked, progress)
        emit_runs(runs, json, variety=key, **({"symbol": contract} if contract else {}))

    command.__name__, command.__doc__ = work.__name__, work.__doc__
    return command


def _runs(asked: _Asked) -> SeriesRuns:
    """The runs of the series that was asked for."""
    from ghtrader_assets.runs.series_runs import SeriesRuns

    return SeriesRuns(
        settings=asked.settings,
        variety=asked.variety,
        contract=asked.contract,
        horizon=asked.horizon,
        start=asked.start,
        end=asked.end,
    )


def _how(asked: _Asked, progress: Progress) -> dict[str, Any]:
    """What the runs are told beside the series and the family."""
    return {
        "seed": asked.seed,
        "policy": asked.policy,
        "strict": asked.strict,
        "mix": asked.mix,
        "devices": asked.devices,
        "progress": progress,
    }


def register(app: typer.Typer) -> None:
    """Add both commands."""

    @app.command()
    @_model_options
    def train(asked: _Asked, progress: Progress) -> list[RunResult]:
        """Fit one family on built days and write its bundle. Example: ghtrader train --model xgboost --var cu"""
        return _runs(asked).train(asked.family, changes=asked.family_settings, **_how(asked, progress))

    @app.command()
    @_model_options
    def benchmark(asked: _Asked, progress: Progress) -> list[RunResult]:
        """Walk-forward report of one family beside the baselines.

        Example: ghtrader benchmark --model logistic --var cu
        """
        return _runs(asked).benchmark(asked.family, changes=asked.family_settings, **_how(asked, progress))
