"""Says which label horizons a home has: those its settings name, and those its labels were built for.

Light, so that a command can ask before a run begins. Whether a day has labels at a horizon is said by its manifest.
"""

from __future__ import annotations

from collections.abc import Iterable

from ghtrader_base.errors import ConfigError, GhtraderError, UsageError
from ghtrader_base.files import read_json
from ghtrader_base.settings import Settings
from ghtrader_market.reference.varieties import get_variety
from ghtrader_market.stores.lake.manifests import LakeDays
from ghtrader_models.labels.labels import LabelSpec

LABELS, SERIES_MANIFEST = "labels", "manifest.json"


def parse_horizons(text: str, name: str) -> tuple[int, ...]:
    """Horizons of a comma-separated list, ascending, each once.

    Parameters
    ----------
    text : str
        For example "10,50,200".
    name : str
        The option or setting it was given by.

    Raises
    ------
    UsageError
        One is no whole number in its range, or there is none.
    """
    try:
        found = tuple(sorted({int(part) for part in text.split(",") if part.strip()}))
    except ValueError as exc:
        raise UsageError(f"{name} {text}: whole numbers, please", "for example 10,50,200") from exc
    try:
        return LabelSpec(found).horizons
    except UsageError as exc:
        raise UsageError(f"{name} {text!r}: {exc.message}", exc.hint or "for example 10,50,200") from exc


def horizons_of_settings(settings: Settings) -> tuple[int, ...]:
    """Horizons of GHTRADER_HORIZONS; ConfigError where they make no sense."""
    try:
        return parse_horizons(settings.horizons, "GHTRADER_HORIZONS")
    except UsageError as exc:
        raise ConfigError(exc.message, exc.hint) from exc


def built_horizons(lake: LakeDays, symbol: str) -> tuple[int, ...]:
    """Horizons that some day of a series has labels for, ascending; none where nothing was built.

    Read from the series' own manifest, which names every configuration in use; where it does not read, from the newest
    day. A day that cannot be read is the audit's to name.
    """
    path = lake.key_path(LABELS, symbol) / SERIES_MANIFEST
    try:
        specs = [LabelSpec.from_dict(found) for found in read_json(path)["configurations"].values()]
    except (OSError, GhtraderError, ValueError, TypeError, KeyError, AttributeError):
        specs = _of_the_newest_day(lake, symbol)
    return tuple(sorted({horizon for spec in specs for horizon in spec.horizons}))


def horizons_of_home(settings: Settings, varieties: Iterable[str]) -> tuple[int, ...]:
    """Horizons that models of these varieties have partitions for: of the settings, and built; ascending.

    Raises
    ------
    ConfigError
        GHTRADER_HORIZONS makes no sense.
    """
    lake = LakeDays(settings.data)
    built = {each for key in varieties for each in built_horizons(lake, get_variety(key).continuous_symbol)}
    return tuple(sorted({*horizons_of_settings(settings), *built}))


def _of_the_newest_day(lake: LakeDays, symbol: str) -> list[LabelSpec]:
    days = lake.days(LABELS, symbol)
    try:
        manifest = lake.manifest(LABELS, symbol, days[-1]) if days else None
        return [LabelSpec.from_dict(manifest.label_spec.to_json())] if manifest is not None else []
    except (OSError, GhtraderError, ValueError, TypeError, KeyError):
        return []
