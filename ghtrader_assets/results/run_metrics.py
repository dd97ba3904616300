"""Collects the JSON reports of a home into one long table: what `run_metrics` is in SQL."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pyarrow as pa

from ghtrader_assets.results.reports_store import read_report
from ghtrader_base.settings import Settings
from ghtrader_models.model_scores import GainInterval, MeanScore
from ghtrader_models.research.factor_report import read_factor_report

SCHEMA = pa.schema(
    [
        ("symbol", pa.string()),
        ("horizon", pa.int32()),
        ("family", pa.string()),
        ("who", pa.string()),
        ("metric", pa.string()),
        ("split", pa.string()),
        ("value", pa.float64()),
        ("seed", pa.int64()),
        ("run_id", pa.string()),
    ]
)
"""`who`: model, prior, majority, persistence; of a factor report (`family`: its set) the factor. `split`: mean, std,
low, high, or the test's name; of a factor report the day."""


def run_metrics(settings: Settings) -> pa.Table:
    """Every score of every walk-forward report and factor report, one row a number."""
    return pa.Table.from_pylist([*_of_benchmarks(settings), *_of_factors(settings)], schema=SCHEMA)


def _of_factors(settings: Settings) -> list[dict[str, Any]]:
    """Information coefficients as `factors evaluate` left them under `runs/factors`."""
    rows: list[dict[str, Any]] = []
    for path in sorted((settings.runs / "factors").glob("*/*/report.json")):
        report = read_factor_report(path)
        about = {"symbol": report.symbol, "family": report.factor_set, "seed": report.seed, "run_id": ""}
        for factor in report.factors:
            for horizon, found in factor.horizons.items():
                ic = {"mean": found.ic, "low": found.low, "high": found.high}
                ic |= dict(zip(report.days, found.by_day, strict=True))
                numbers = [("ic", split, value) for split, value in ic.items()]
                numbers += [("over_chance", "mean", found.over_chance), ("p_adjusted", "mean", found.p_adjusted)]
                rows += [
                    {**about, "horizon": int(horizon), "who": factor.name, "metric": m, "split": s, "value": value}
                    for m, s, value in numbers
                    if value is not None
                ]
    return rows


def _of_benchmarks(settings: Settings) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for path in sorted((settings.runs / "benchmark").glob("*/h*/*.json")):
        report = read_report(path)
        about = {
            "symbol": report.symbol,
            "horizon": report.horizon,
            "family": report.family,
            "seed": report.seed,
            "run_id": report.context.run_id,
        }
        names = [split.name for split in report.splits]
        for who, scores in {"model": report.model, **report.baselines}.items():
            for metric in fields(scores):
                found: MeanScore | GainInterval | None = getattr(scores, metric.name)
                if found is None:
                    continue
                numbers: dict[str, float | None] = {"mean": found.mean}
                if isinstance(found, MeanScore):
                    numbers["std"] = found.std
                else:
                    numbers |= {"low": found.low, "high": found.high}
                numbers |= dict(zip(names, found.per_split, strict=True))
                rows += [
                    {**about, "who": who, "metric": metric.name, "split": split, "value": value}
                    for split, value in numbers.items()
                    if value is not None
                ]
    return rows
