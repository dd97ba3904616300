"""`ghtrader factors evaluate`: what single factors are worth on days of the lake."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ghtrader.commands.pipeline_io import (
    AnySeriesOption,
    EndOption,
    StartOption,
    TicksKindOption,
    VarietyOption,
    optional_day,
    series_of,
)
from ghtrader.console_io import HomeOption, JsonOption, emit, note, settings_of, table
from ghtrader_base.errors import FailedError, UsageError

_SHOWN = 25


def _horizons(text: str) -> list[int]:
    try:
        found = sorted({int(part) for part in text.split(",") if part.strip()})
    except ValueError as exc:
        raise UsageError(f"--horizons {text}: whole numbers, please", "for example 10,50,200") from exc
    if not found or found[0] < 1:
        raise UsageError(f"--horizons {text}: ticks ahead, from 1", "for example 10,50,200")
    return found


def add_evaluate(factors: typer.Typer) -> None:
    """Add the command to the group."""

    @factors.command()
    def evaluate(
        var: VarietyOption = "",
        symbol: AnySeriesOption = "",
        ticks_kind: TicksKindOption = "",
        set_name: Annotated[
            str, typer.Option("--set", help="Factor set: a name of `factors list`, or FILE.toml[:SET].")
        ] = "lean",
        horizons: Annotated[str, typer.Option("--horizons", help="Ticks ahead.")] = "10,50,200",
        start: StartOption = "",
        end: EndOption = "",
        shuffles: Annotated[
            int, typer.Option("--shuffles", min=100, help="Orders of the days that chance is judged by.")
        ] = 2000,
        seed: Annotated[int, typer.Option("--seed", help="Of the shuffles.")] = 0,
        out: Annotated[
            Path | None, typer.Option("--out", help="Folder of report.json and report.html; runs/factors by default.")
        ] = None,
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """Information coefficients, their decay, turnover, stability and groups, against chance.

        Example: ghtrader factors evaluate --var cu --set core --horizons 10,50,200
        """
        settings, wanted = settings_of(home), _horizons(horizons)
        key, contract = series_of(var, symbol, ticks_kind)
        first, last = optional_day(start, "--start"), optional_day(end, "--end")

        from ghtrader_market.reference.trading_calendar import load_calendar
        from ghtrader_market.reference.varieties import get_variety
        from ghtrader_market.stores.lake.lake import Lake
        from ghtrader_models.datasets.tick_input import source_kind
        from ghtrader_models.factors.library.sets import get_factor_set
        from ghtrader_models.research.evaluate import evaluate_factors, report_of, save_report

        lake, calendar, factor_set = Lake(settings.data), load_calendar(settings), get_factor_set(set_name)
        if first is not None and last is not None:
            calendar.require_days(first, last)
        name = contract or get_variety(key).continuous_symbol
        kind = source_kind(name)
        days = [
            day for day in lake.days(kind, name) if (first is None or day >= first) and (last is None or day <= last)
        ]
        if not days:
            made_by = f"main-l5 --var {key}" if kind == "main_l5" else f"download --symbol {name}"
            raise FailedError(f"no {kind} day of {name} in this range", f"first: ghtrader {made_by}")
        scores, used = evaluate_factors(
            lake, calendar, kind, name, days, factor_set, wanted,
            shuffles=shuffles, seed=seed, on_day=lambda done, of: note(f"{name}: day {done} of {of}"),
        )  # fmt: skip
        report = report_of(scores, used, name, seed=seed)
        path = save_report(out or settings.runs / "factors" / name / used.name, report, scores)
        page = path.with_suffix(".html")
        emit({**report, "report": str(path), "page": str(page)}, json, lambda: _text(report, page))


def _text(report: dict[str, Any], page: Path) -> str:
    """The strongest factors as a table, and where the rest is."""
    judged = str(report["judged_horizon"])
    rows = []
    for row in report["factors"][:_SHOWN]:
        found = row["horizons"][judged]
        rows.append(
            {
                "#": row["rank"],
                "factor": row["name"],
                **{f"IC {h}": _show(row["horizons"][str(h)]["ic"], "%+.4f") for h in report["horizons"]},
                f"95 % at {judged}": f"{_show(found['low'], '%+.3f')} to {_show(found['high'], '%+.3f')}",
                "IC / chance": _show(found["over_chance"], "%.1f"),
                "adjusted p": _show(found["p_adjusted"], "%.4f"),
                "same sign": _show(found["day_agreement"], "%.2f"),
                "turnover": _show(row["turnover"], "%.3f"),
                "persistence": _show(row["persistence"], "%.4f"),
                "bias": _show(row["bias"][judged], "%.3f") + (" slow" if row["slow"] else ""),
                "coverage": _show(row["coverage"], "%.3f"),
                "group": row["cluster"] + 1,
            }
        )
    believed = sum((row["horizons"][judged]["p_adjusted"] or 1.0) < 0.05 for row in report["factors"])
    of = len(report["factors"])
    lines = [
        f"{report['symbol']}, set {report['factor_set']}: {of} factors, {len(report['days'])} days, judged at {judged}",
        table(rows),
        f"{believed} of {of} factors beyond what chance shows anywhere (adjusted p < 0.05); {report['p_value_method']}",
        *([report["slow"]] if any(row["slow"] for row in report["factors"]) else []),
        f"page: {page}",
    ]
    return "\n".join(lines)


def _show(value: float | None, how: str) -> str:
    return "-" if value is None else how % value
