"""Defines `data quality`: may a day of ticks feed features, what is odd in it, what it looks like."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ghtrader.commands.shared_options import (
    EndOption,
    HomeOption,
    JsonOption,
    StartOption,
    VarietyOption,
    group,
    optional_day,
    series_of,
    settings_of,
)
from ghtrader.output import emit, table
from ghtrader_base.errors import FailedError, UsageError

if TYPE_CHECKING:
    from ghtrader_base.settings import Settings
    from ghtrader_market.quality.readiness_types import DayQuality

SymbolOption = Annotated[str, typer.Option("--symbol", help="One contract, SHFE.cu2502, or a series, KQ.m@SHFE.cu.")]
_STATES = ["day", "engineering_state", "source_state", "policy_state", "overall_state", "reason_code", "action_hint"]


def register(app: typer.Typer) -> None:
    """Add the group `data quality`."""
    data = group(app, "data", "Recordings and what is in the lake.")
    quality = typer.Typer(help="A day's readiness, its anomalies, its profile.", no_args_is_help=True)
    data.add_typer(quality, name="quality")

    @quality.command()
    def readiness(
        var: VarietyOption = "",
        symbol: SymbolOption = "",
        start: StartOption = "",
        end: EndOption = "",
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> int:
        """The six fields of each day; 1 where a day is not ready. Example: ghtrader data quality readiness --var cu"""
        found = _days(settings_of(home), var, symbol, start, end)
        rows = [day.readiness.to_json() for day in found]
        emit({"days": rows}, json, lambda: _by_symbol(rows, _STATES))
        return 0 if all(day.readiness.ready for day in found) else 1

    @quality.command()
    def anomalies(
        var: VarietyOption = "",
        symbol: SymbolOption = "",
        start: StartOption = "",
        end: EndOption = "",
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """What is odd, how often, and where first. Example: ghtrader data quality anomalies --var cu"""
        found = _days(settings_of(home), var, symbol, start, end)
        rows = [_named(day, {"anomalies": [anomaly.to_json() for anomaly in day.anomalies]}) for day in found]
        flat = [
            {**_named(day, {}), "kind": a["kind"], "count": a["count"], "seconds": a["seconds"], **_first(a)}
            for day in found
            for a in (anomaly.to_json() for anomaly in day.anomalies)
        ]
        columns = ["day", "kind", "count", "seconds", "row", "time", "meaning"]
        emit({"days": rows}, json, lambda: _by_symbol(flat, columns))

    @quality.command()
    def profiles(
        var: VarietyOption = "",
        symbol: SymbolOption = "",
        start: StartOption = "",
        end: EndOption = "",
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """Ticks a session, spread, depth, update interval. Example: ghtrader data quality profiles --var cu"""
        found = _days(settings_of(home), var, symbol, start, end)
        told = [(day, day.profile.to_json()) for day in found if day.profile is not None]
        rows = [_named(day, {"profile": profile}) for day, profile in told]
        flat = [
            _named(
                day,
                {
                    "ticks": profile["rows"],
                    "sessions": "+".join(map(str, profile["session_rows"])),
                    "outside": profile["rows_outside"],
                    "levels": profile["levels"],
                    "interval s": _figures(profile["interval_s"]),
                    "spread ticks": _figures(profile["spread_ticks"]),
                    "lots a level": "/".join(f"{lots:.0f}" for lots in profile["depth_lots"]),
                    "volume": profile["volume"],
                },
            )
            for day, profile in told
        ]
        columns = ["day", *(name for name in (flat[0] if flat else {}) if name not in ("dataset", "symbol", "day"))]
        emit({"days": rows}, json, lambda: _by_symbol(flat, columns))


def _days(settings: Settings, var: str, symbol: str, start: str, end: str) -> list[DayQuality]:
    """Quality of the stored days asked for: a variety's main series, or its contracts' ticks while it has none."""
    from ghtrader_market.quality.readiness import day_quality, schedule_now
    from ghtrader_market.reference.symbols import parse_symbol
    from ghtrader_market.reference.trading_calendar import load_calendar
    from ghtrader_market.reference.varieties import get_variety, variety_of
    from ghtrader_market.stores.lake.lake import Lake

    if not var and not symbol:
        raise UsageError("name one variety or one symbol", "--var cu, --symbol SHFE.cu2502 or --symbol KQ.m@SHFE.cu")
    series_of(var, symbol)
    lake, calendar = Lake(settings.data), load_calendar(settings)
    first, last = optional_day(start, "--start"), optional_day(end, "--end")
    if first and last:
        calendar.require_days(first, last)
    if symbol:
        variety = variety_of(symbol)
        series = [("main_l5" if parse_symbol(symbol).continuous else "ticks", symbol)]
    else:
        variety = get_variety(var)
        series = [("main_l5", variety.continuous_symbol)]
        if not lake.days("main_l5", variety.continuous_symbol):
            prefix = f"{variety.exchange}.{variety.product}"
            series = [("ticks", key) for key in lake.keys("ticks") if key.rstrip("0123456789") == prefix]
    schedules = {key: schedule_now(settings, key) for _, key in series}
    found = [
        day_quality(settings, dataset, key, day, calendar=calendar, schedule=schedules[key])
        for dataset, key in series
        for day in lake.days(dataset, key)
        if (not first or day >= first) and (not last or day <= last)
    ]
    if not found:
        raise FailedError(
            f"no day of {symbol or var} in this range is here",
            f"first: ghtrader download-contract-range --var {variety.key}",
        )
    return found


def _named(day: DayQuality, more: dict[str, Any]) -> dict[str, Any]:
    answer = day.readiness
    return {"dataset": answer.dataset, "symbol": answer.symbol, "day": answer.day.isoformat(), **more}


def _first(anomaly: dict[str, Any]) -> dict[str, Any]:
    where = anomaly["first"][0] if anomaly["first"] else {"row": "", "time": ""}
    return {"row": where["row"], "time": where["time"], "meaning": anomaly["meaning"]}


def _figures(told: dict[str, float | None]) -> str:
    return "/".join("-" if value is None else f"{value:g}" for value in told.values())


def _by_symbol(rows: list[dict[str, Any]], columns: list[str]) -> str:
    """One table a series, under its name."""
    if not rows:
        return "nothing odd"
    names = list(dict.fromkeys((row["dataset"], row["symbol"]) for row in rows))
    parts = []
    for name in names:
        of_one = [row for row in rows if (row["dataset"], row["symbol"]) == name]
        parts.append(f"{name[0]} {name[1]}\n{table(of_one, columns)}")
    return "\n\n".join(parts)
