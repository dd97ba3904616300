"""Defines the `factors` group: what factors there are, what each says, how one is computed, what they are worth,
and whether they see the future.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ghtrader.commands.shared_options import (
    AnySeriesOption,
    EndOption,
    HomeOption,
    JsonOption,
    StartOption,
    TicksKindOption,
    VarietyOption,
    optional_day,
    series_of,
    settings_of,
)
from ghtrader.output import emit, note, table
from ghtrader_base.errors import FailedError

if TYPE_CHECKING:
    from ghtrader_models.research.factor_report import FactorReport

SetOption = Annotated[
    str, typer.Option("--set", help="Factor set: see the first lines of `factors list`; or FILE.toml[:SET].")
]
_LIST_COLUMNS = ["factor", "group", "unit", "depth", "warm", "meaning"]


def _register_looking(factors: typer.Typer) -> None:
    @factors.command("list")
    def list_(
        set_name: SetOption = "core",
        group: Annotated[str, typer.Option("--group", help="Only this group of factors.")] = "",
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """The factors of a set, one a line. Example: ghtrader factors list --group refill"""
        from ghtrader_models.factors.library.explain import list_factors, set_rows

        rows = [row.to_dict() for row in list_factors(set_name, group)]
        sets = [row.to_dict() for row in set_rows()]
        text = f"{table(sets)}\n\n{set_name}: {len(rows)} factors\n"
        emit({"sets": sets, "set": set_name, "factors": rows}, json, lambda: text + table(rows, _LIST_COLUMNS))

    @factors.command()
    def show(
        name: Annotated[str, typer.Argument(help="Name of a factor or of a set.")],
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """What a factor (or a set) is. Example: ghtrader factors show ofi_1_sum_20"""
        from ghtrader_models.factors.library.explain import describe

        found = describe(name).to_dict()
        emit(found, json, lambda: _lines(found))

    @factors.command()
    def explain(
        name: Annotated[str, typer.Argument(help="Name of a factor.")],
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """How a factor is computed, step by step. Example: ghtrader factors explain signed_share_100"""
        from ghtrader_models.factors.library.explain import explain_factor

        found = explain_factor(name).to_dict()
        steps = [{**step, "step": "  " * step["nesting"] + step["step"]} for step in found["steps"]]
        plain = {key: value for key, value in found.items() if key != "steps"}
        columns = ["step", "unit", "warm", "levels", "rule"]
        emit(found, json, lambda: f"{_lines(plain)}\n\n{table(steps, columns)}")


def _lines(document: dict[str, Any]) -> str:
    width = max(map(len, document))
    shown = ((key, ", ".join(map(str, v)) if isinstance(v, list | tuple) else v) for key, v in document.items())
    return "\n".join(f"{key:<{width}}  {value}" for key, value in shown)


def register(app: typer.Typer) -> None:
    """Add `ghtrader factors`."""
    factors = typer.Typer(help="The factor library.", no_args_is_help=True)
    app.add_typer(factors, name="factors")
    _register_looking(factors)
    add_evaluate(factors)
    add_leakage(factors)


_SHOWN = 25


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
        from ghtrader_assets.label_horizons import parse_horizons

        settings, wanted = settings_of(home), parse_horizons(horizons, "--horizons")
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
        emit({**report.to_dict(), "report": str(path), "page": str(page)}, json, lambda: _text(report, page))


def _text(report: FactorReport, page: Path) -> str:
    """The strongest factors as a table, and where the rest is."""
    judged = str(report.judged_horizon)
    rows = []
    for row in report.factors[:_SHOWN]:
        found = row.horizons[judged]
        rows.append(
            {
                "#": row.rank,
                "factor": row.name,
                **{f"IC {h}": _show(row.horizons[str(h)].ic, "%+.4f") for h in report.horizons},
                f"95 % at {judged}": f"{_show(found.low, '%+.3f')} to {_show(found.high, '%+.3f')}",
                "IC / chance": _show(found.over_chance, "%.1f"),
                "adjusted p": _show(found.p_adjusted, "%.4f"),
                "same sign": _show(found.day_agreement, "%.2f"),
                "turnover": _show(row.turnover, "%.3f"),
                "persistence": _show(row.persistence, "%.4f"),
                "bias": _show(row.bias[judged], "%.3f") + (" slow" if row.slow else ""),
                "coverage": _show(row.coverage, "%.3f"),
                "group": row.cluster + 1,
            }
        )
    believed = sum((row.horizons[judged].p_adjusted or 1.0) < 0.05 for row in report.factors)
    of = len(report.factors)
    lines = [
        f"{report.symbol}, set {report.factor_set}: {of} factors, {len(report.days)} days, judged at {judged}",
        table(rows),
        *(f"left out {day}" for day in report.left_out),
        f"{believed} of {of} factors beyond what chance shows anywhere (adjusted p < 0.05); {report.p_value_method}",
        *([report.slow] if any(row.slow for row in report.factors) else []),
        f"page: {page}",
    ]
    return "\n".join(lines)


def _show(value: float | None, how: str) -> str:
    return "-" if value is None else how % value


def add_leakage(factors: typer.Typer) -> None:
    """Add the command to the group."""

    @factors.command()
    def leakage(
        var: VarietyOption = "",
        symbol: AnySeriesOption = "",
        ticks_kind: TicksKindOption = "",
        set_name: Annotated[
            str,
            typer.Option("--set", help="Factor set, as `evaluate` takes it; what the days were built with by default."),
        ] = "",
        labels: Annotated[str, typer.Option("--labels", help="With --set: label definition.")] = "mid_move",
        horizons: Annotated[str, typer.Option("--horizons", help="With --set: label horizons in ticks.")] = "10,50,200",
        start: StartOption = "",
        end: EndOption = "",
        days: Annotated[int, typer.Option("--days", min=1, help="Days to look at, drawn by --seed.")] = 3,
        seed: Annotated[int, typer.Option("--seed", min=0, help="Of the days and the ticks they are cut at.")] = 0,
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> int:
        """Which factors and labels see the future: days are cut at random ticks and computed again up to there.

        Without --set the stored rows of built days are held against it. 1 where something is found.

        Example: ghtrader factors leakage --var cu
        """
        from ghtrader_assets.label_horizons import parse_horizons

        settings, wanted = settings_of(home), parse_horizons(horizons, "--horizons")
        key, contract = series_of(var, symbol, ticks_kind)
        first, last = optional_day(start, "--start"), optional_day(end, "--end")

        from ghtrader_market.reference.trading_calendar import load_calendar
        from ghtrader_market.reference.varieties import get_variety
        from ghtrader_market.stores.lake.lake import Lake
        from ghtrader_models.datasets.leakage import check_series
        from ghtrader_models.datasets.tick_input import source_kind
        from ghtrader_models.factors.library.sets import get_factor_set
        from ghtrader_models.labels.labels import LabelSpec

        lake, calendar = Lake(settings.data), load_calendar(settings)
        factor_set = get_factor_set(set_name) if set_name else None
        label_spec = LabelSpec.named(labels, tuple(wanted)) if set_name else None
        if first is not None and last is not None:
            calendar.require_days(first, last)
        name = contract or get_variety(key).continuous_symbol
        kind = source_kind(name)
        dataset = kind if set_name else "features"
        there = [
            day for day in lake.days(dataset, name) if (first is None or day >= first) and (last is None or day <= last)
        ]
        if not there:
            made_by = {"main_l5": f"main-l5 --var {key}", "ticks": f"download --symbol {name}"}
            raise FailedError(
                f"no {dataset} day of {name} in this range",
                f"first: ghtrader {made_by.get(dataset, f'build --symbol {name}, or name a factor set with --set')}",
            )
        report = check_series(
            lake, calendar, kind, name, there, factor_set=factor_set, label_spec=label_spec, seed=seed, most=days
        )
        emit(report.to_dict(), json, lambda: "\n".join([report.words, *map(str, report.leaks[:_SHOWN])]))
        return 0 if report.ok else 1
