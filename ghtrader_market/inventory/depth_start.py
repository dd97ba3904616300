"""Finds the first trading day of a variety with real depth: pinned by a setting, probed for once, or from the disk.

Depth came to the exchanges' feeds on one day and has stayed, so that the day is found by halving.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ghtrader_base.errors import ConfigError, FailedError, IntegrityError
from ghtrader_base.files import atomic_write_json, read_checked_json, with_checksum
from ghtrader_market.inventory.contract_catalog import symbols_here
from ghtrader_market.reference.tick_schema import LEVELS, levels_of
from ghtrader_market.reference.varieties import get_variety

if TYPE_CHECKING:
    from ghtrader_base.settings import Settings
    from ghtrader_market.sources.tqsdk.source import TqSdkSource
    from ghtrader_market.stores.lake.lake import Lake

Tell = Callable[[str], object]


@dataclass(frozen=True)
class L5Start:
    """A variety's first day with depth, how that is known (setting, probe or disk), and the setting that pins it."""

    variety: str
    day: date | None
    how: str
    setting: str

    def to_json(self) -> dict[str, str | None]:
        """For `--json`."""
        day = self.day.isoformat() if self.day else None
        return {"variety": self.variety, "l5_start": day, "how": self.how, "setting": self.setting}


def setting_name(variety: str) -> str:
    """The setting that pins it, `GHTRADER_L5_START_DATE_CU`; empty for a variety that has none."""
    from ghtrader_base.settings import Settings

    field = Settings.model_fields.get(f"l5_start_date_{variety.lower()}")
    return str(field.alias) if field else ""


def depth_start_path(data: Path) -> Path:
    """Where the probed days are kept."""
    return data / "catalog" / "l5_start.json"


def _pinned(settings: Settings, variety: str) -> date | None:
    text = getattr(settings, f"l5_start_date_{variety.lower()}", "")
    try:
        return date.fromisoformat(text) if text else None
    except ValueError as exc:
        name = setting_name(variety)
        raise ConfigError(f"setting {name}: {text!r} is no date", "write it as YYYY-MM-DD") from exc


def read_depth_starts(data: Path) -> dict[str, date]:
    """Variety -> first day with depth, as probed; empty where nothing was.

    Raises
    ------
    IntegrityError
        The file is garbled, or was edited.
    """
    path = depth_start_path(data)
    if not path.exists():
        return {}
    try:
        return {name: date.fromisoformat(found["day"]) for name, found in read_checked_json(path)[0].items()}
    except (KeyError, TypeError, ValueError) as exc:
        raise IntegrityError(f"{path} is garbled: {exc}", "delete it and run `ghtrader data l5-start` again") from exc


def find_l5_start(settings: Settings, variety: str) -> L5Start:
    """What is known without asking anybody: the setting, else an earlier probe, else the first deep day on disk."""
    from ghtrader_market.stores.lake.lake import Lake

    key = get_variety(variety).key
    if day := _pinned(settings, key):
        return L5Start(key, day, "setting", setting_name(key))
    if day := read_depth_starts(settings.data).get(key):
        return L5Start(key, day, "probe", setting_name(key))
    _, deep = _on_disk(Lake(settings.data), key)
    return L5Start(key, deep, "disk", setting_name(key))


def l5_start(settings: Settings, variety: str) -> date | None:
    """First trading day of a variety with real depth; None where nothing says so yet."""
    return find_l5_start(settings, variety).day


def _on_disk(lake: Lake, variety: str) -> tuple[date | None, date | None]:
    """Last day without depth before the first day with it, and that day, by the days in the lake."""
    levels: dict[date, int] = {}
    lists = lake.index.day_lists("ticks")
    for symbol in symbols_here(lake, variety):
        for text, found, _ in lists[symbol]:
            day = date.fromisoformat(text)
            levels[day] = max(levels.get(day, 0), found or 0)
    deep = min((day for day, found in levels.items() if found >= LEVELS), default=None)
    return max((day for day in levels if deep and day < deep), default=None), deep


def first_true(days: Sequence[date], holds: Callable[[date], bool]) -> date | None:
    """First day from which `holds` is true, by halving; None where it is not even true of the last."""
    if not days or not holds(days[-1]):
        return None
    low, high = -1, len(days) - 1
    while high - low > 1:
        middle = (low + high) // 2
        if holds(days[middle]):
            high = middle
        else:
            low = middle
    return days[high]


def probe_l5_start(settings: Settings, source: TqSdkSource, lake: Lake, variety: str, tell: Tell) -> L5Start:
    """Ask the service, one main contract's day at a time, and keep the answer.

    Raises
    ------
    FailedError
        Not even the newest day has depth.
    """
    key = get_variety(variety).key
    finished = source.finished_day(key)
    main = {day: contract for day, contract in source.continuous(key) if day <= finished}
    shallow, deep = _on_disk(lake, key)
    days = sorted(day for day in main if (shallow is None or day > shallow) and (deep is None or day < deep))

    def has_depth(day: date) -> bool:
        tables = [table for _, table in source.ticks(main[day], day, day)]
        levels = max((levels_of(table) or 0 for table in tables if table.num_rows), default=0)
        tell(f"{day} {main[day]}: {'depth' if levels >= LEVELS else 'one level' if levels else 'no ticks'}")
        return levels >= LEVELS

    found = first_true(days, has_depth) or deep
    if found is None:
        raise FailedError(
            f"the service gives no depth of {key}, not even on {days[-1] if days else finished}",
            "level 2 data of SHFE need an account with that right",
        )
    path = depth_start_path(lake.root)
    known = read_checked_json(path)[0] if path.exists() else {}
    known[key] = {"day": str(found), "probed_at": datetime.now(UTC).isoformat(timespec="seconds")}
    atomic_write_json(path, with_checksum(known))
    return L5Start(key, found, "probe", setting_name(key))
