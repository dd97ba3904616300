"""Collects scores for the report: what the pipeline stored, beside baselines and, in a simulated world, the oracle."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ghtrader.demo.effort import JUDGED
from ghtrader.demo.report import ContentHashes, DataFacts
from ghtrader_base.files import content_hash
from ghtrader_base.settings import Settings
from ghtrader_market.reference.varieties import get_variety
from ghtrader_models.model_scores import ModelScores

if TYPE_CHECKING:
    import pyarrow as pa

    from ghtrader_market.stores.lake.manifests import DayManifest


@dataclass(frozen=True, kw_only=True)
class CollectedScores:
    """Scores of every family and baseline at every horizon.

    Attributes
    ----------
    models : dict
        Name -> horizon (text) -> scores.
    metrics_hash : str
        Over all metrics.
    net_pnl : dict of str to float or None
        Family -> net PnL of the walk-forward simulation at the judged horizon, CNY.
    tests : list of str
        Names of the judged horizon's tests.
    """

    models: dict[str, dict[str, ModelScores]]
    metrics_hash: str
    net_pnl: dict[str, float | None]
    tests: list[str]


def oracle_probabilities(predictions: pa.Table, truth: Path, variety: str, horizon: int) -> np.ndarray:
    """float64[n, 3] of the best possible predictor, row by row of a benchmark's predictions."""
    from ghtrader_exchange.world.oracle import Oracle

    oracle = Oracle(truth)
    days = np.array(predictions.column("day").to_pylist())
    times = predictions.column("datetime_ns").to_numpy()
    out = np.empty((predictions.num_rows, 3))
    for day in np.unique(days):
        rows = np.flatnonzero(days == day)
        out[rows] = oracle.probabilities(variety, day, times[rows], horizon)
    return out


def collect(
    settings: Settings, variety: str, horizons: Iterable[int], truth: Path | None = None
) -> CollectedScores:
    """Scores of every family and baseline at these horizons.

    Parameters
    ----------
    horizons : iterable of int
        Those that were built.
    truth : Path, optional
        The simulated exchange's truth folder; adds `oracle`, scored on the very same test rows.
    """
    from ghtrader_assets.results.reports_store import load_predictions, load_reports
    from ghtrader_models.evaluation.benchmark import score_external

    symbol = get_variety(variety).continuous_symbol
    models: dict[str, dict[str, ModelScores]] = {}
    hashes: dict[str, str] = {}
    pnl: dict[str, float | None] = {}
    tests: list[str] = []
    for horizon in horizons:
        reports = load_reports(settings, symbol, horizon)
        for report in reports:
            models.setdefault(report.family, {})[str(horizon)] = report.model
            hashes[f"{report.family} {horizon}"] = report.metrics_hash
            if horizon == JUDGED:
                pnl[report.family] = report.simulation.net_pnl if report.simulation is not None else None
                tests = [split.name for split in report.splits]
        for name, score in reports[0].baselines.items():
            models.setdefault(name, {})[str(horizon)] = score
        if truth is not None:
            predictions = load_predictions(settings, symbol, horizon, reports[0].family)
            probabilities = oracle_probabilities(predictions, truth, variety, horizon)
            models.setdefault("oracle", {})[str(horizon)] = score_external(predictions, probabilities)
    return CollectedScores(models=models, metrics_hash=content_hash(hashes), net_pnl=pnl, tests=tests)


def data_facts(settings: Settings, variety: str, days: list[date], models_hash: str) -> DataFacts:
    """What a part was made of: ticks, days, segments, factors, and hashes of contents over these days."""
    from ghtrader_assets.results.reports_store import load_reports
    from ghtrader_market.reference.roll_schedule import load_schedule
    from ghtrader_market.stores.lake.lake import Lake

    symbol = get_variety(variety).continuous_symbol
    reports = load_reports(settings, symbol, JUDGED)
    lake, schedule = Lake(settings.data), load_schedule(settings.data, variety)

    def manifests(dataset: str) -> list[DayManifest]:
        return [found for day in days if (found := lake.manifest(dataset, symbol, day)) is not None]

    def hashed(dataset: str) -> str:
        return content_hash({found.day: found.content_hash for found in manifests(dataset)})

    features = manifests("features")
    raw = [lake.manifest("ticks", key, day) for key in lake.keys("ticks") for day in days]
    same = [found for found in raw if found is not None and found.key.startswith(symbol.removeprefix("KQ.m@"))]
    return DataFacts(
        ticks=sum(found.rows for found in same),
        main_l5_ticks=sum(found.rows for found in manifests("main_l5")),
        contracts=sorted({found.key for found in same}),
        days=len(days),
        first_day=str(days[0]),
        last_day=str(days[-1]),
        segments=len({schedule.contract_on(day).segment_id for day in days}),
        factors=len(features[-1].factor_names),
        left_out=list(features[-1].features.left_out or ()),
        left_out_days=sorted({str(day) for report in reports for day in report.context.left_out}),
        hashes=ContentHashes(
            ticks=content_hash({f"{found.key} {found.day}": found.content_hash for found in same}),
            main_l5=hashed("main_l5"),
            factors=hashed("features"),
            labels=hashed("labels"),
            models=models_hash,
        ),
    )
