"""Defines the configs of training and of walk-forward reports, with a typed part made from each family's own dataclass.

The launchpad then names every setting of a family with its type and what each preset has for it. A new family in
`families/table.py` has its config without a line here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from pydantic import Field, create_model

from ghtrader_assets.run_config import RunConfig
from ghtrader_models.families.base import Preset, get_family

PresetName = Literal["small", "paper"]
"""Values of `Preset`; a config class takes words, not members."""
ConfigT = TypeVar("ConfigT", bound=RunConfig)
_PLAIN: dict[type, Any] = {bool: bool, int: int, float: float, str: str}


class FamilySettings(RunConfig):
    """A family's own settings: the preset's, but for those that are given."""

    preset: PresetName = "small"

    def changes(self) -> dict[str, Any]:
        """What `families.base.make_config` takes: the preset, and the settings that were given."""
        return {name: value for name, value in self.model_dump().items() if value is not None}


class TrainConfig(RunConfig):
    """What a model learns from and how.

    `start`, `end`: trading days, empty for all that are built. `until_ns`: rows whose label is known before this
    moment only. `settings`: fields of the family's configuration that differ from its preset's; `policy`: those of
    `PolicyOptions`. `devices`: processes that train a network together, one a GPU where there are any. `strict`: refuse
    where a day does not go with the others, instead of leaving it out. `mix`: take days of different markets together.
    """

    start: str = ""
    end: str = ""
    until_ns: int | None = None
    seed: int = 0
    settings: dict[str, Any] = {}
    policy: dict[str, Any] = {}
    devices: int = 1
    strict: bool = False
    mix: bool = False


class BenchmarkConfig(RunConfig):
    """What is scored, and on which tests.

    `start`, `end`: trading days, empty for all that are built. `settings`: as in `TrainConfig`; `policy`: those of
    `PolicyOptions`; `splits`: those of `SplitOptions`. `devices`: as there. `strict`: refuse where a day does not go
    with the others, instead of leaving it out. `mix`: take days of different markets together.
    """

    start: str = ""
    end: str = ""
    seed: int = 0
    settings: dict[str, Any] = {}
    policy: dict[str, Any] = {}
    splits: dict[str, Any] = {}
    devices: int = 1
    strict: bool = False
    mix: bool = False


def changes_of(config: TrainConfig | BenchmarkConfig) -> dict[str, Any]:
    """Settings that differ from a family's defaults, as `families.base.make_config` takes them."""
    settings: FamilySettings | Mapping[str, Any] = config.settings
    return settings.changes() if isinstance(settings, FamilySettings) else dict(settings)


def settings_class(family: str) -> type[FamilySettings]:
    """The class of a family's settings, with a field of each of its frozen dataclass that is a number, text or switch.

    Another kind of field is the preset's always: `make_config` takes none either, and the graph must load.
    """
    config = get_family(family).config
    small, paper = config(Preset.SMALL), config(Preset.PAPER)
    fields: dict[str, Any] = {}
    for field in dataclasses.fields(small):
        usual, large = getattr(small, field.name), getattr(paper, field.name)
        if type(usual) not in _PLAIN:
            continue
        said = (f"{usual}" or "empty") if usual == large else f"{usual} in small, {large} in paper"
        fields[field.name] = (_PLAIN[type(usual)] | None, Field(default=None, description=said))
    made: type[FamilySettings] = create_model(f"{_title(family)}Settings", __base__=FamilySettings, **fields)
    return made


def train_config(family: str) -> type[TrainConfig]:
    """`TrainConfig` with the settings of one family."""
    return _of_family(TrainConfig, f"Train{_title(family)}", settings_class(family))


def benchmark_config(family: str) -> type[BenchmarkConfig]:
    """`BenchmarkConfig` with the settings of one family."""
    return _of_family(BenchmarkConfig, f"Benchmark{_title(family)}", settings_class(family))


def _of_family(base: type[ConfigT], name: str, settings: type[FamilySettings]) -> type[ConfigT]:
    fields: dict[str, Any] = {"settings": (settings, Field(default=settings()))}
    made: type[ConfigT] = create_model(name, __base__=base, __doc__=base.__doc__, **fields)
    return made


def _title(family: str) -> str:
    return family.replace("_", " ").title().replace(" ", "")
