"""Collects scores for the report: what the pipeline stored, beside baselines and, in a simulated world, the oracle."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ghtrader_base.files import content_hash
from ghtrader_base.settings import Settings
from ghtrader_market.reference.varieties import get_variety

if TYPE_CHECKING:
    import pyarrow as pa

    from ghtrader_market.stores.lake.manifests import DayManifest

HORIZONS = (10, 50, 200)
JUDGED = 50
"""The horizon that is judged, gated and traded; the others are reported."""
SHOWN = ("logloss", "logloss_gain", "macro_f1", "weighted_f1", "accuracy", "ece")


def _shown(score: dict[str, Any]) -> dict[str, Any]:
    return {name: score[name] for name in SHOWN}


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


def collect(settings: Settings, variety: str, truth: Path | None = None) -> dict[str, Any]:
    """Scores of every family and baseline at every horizon.

    Parameters
    ----------
    truth : Path, optional
        The simulated exchange's truth folder; adds `oracle`, scored on the very same test rows.

    Returns
    -------
    dict
        ``models``: name -> horizon (text) -> scores; ``hash``: over all metrics; ``pnl``: family -> net PnL of the
        walk-forward simulation at the judged horizon, CNY; ``tests``: names of the judged horizon's test splits.
    """
    from ghtrader_assets.results.reports_store import load_predictions, load_reports
    from ghtrader_models.evaluation.benchmark import score_external

    symbol = get_variety(variety).continuous_symbol
    models: dict[str, dict[str, Any]] = {}
    hashes, pnl, tests = {}, {}, []
    for horizon in HORIZONS:
        reports = load_reports(settings, symbol, horizon)
        for report in reports:
            models.setdefault(report.family, {})[str(horizon)] = _shown(report.model)
            hashes[f"{report.family} {horizon}"] = report.document["metrics_hash"]
            if horizon == JUDGED:
                simulation = report.document["simulation"]
                pnl[report.family] = simulation["net_pnl"] if simulation else None
                tests = [row["name"] for row in report.document["splits"]]
        for name, score in reports[0].document["baselines"].items():
            models.setdefault(name, {})[str(horizon)] = _shown(score)
        if truth is not None:
            predictions = load_predictions(settings, symbol, horizon, reports[0].family)
            probabilities = oracle_probabilities(predictions, truth, variety, horizon)
            models.setdefault("oracle", {})[str(horizon)] = _shown(score_external(predictions, probabilities))
    return {"models": models, "hash": content_hash(hashes), "pnl": pnl, "tests": tests}


def facts(settings: Settings, variety: str, days: list[date]) -> dict[str, Any]:
    """What a part was made of: ticks, days, segments, factors, and hashes of contents over these days."""
    from ghtrader_market.reference.roll_schedule import load_schedule
    from ghtrader_market.stores.lake.lake import Lake

    symbol = get_variety(variety).continuous_symbol
    lake, schedule = Lake(settings.data), load_schedule(settings.data, variety)

    def manifests(dataset: str) -> list[DayManifest]:
        return [found for day in days if (found := lake.manifest(dataset, symbol, day)) is not None]

    def hashed(dataset: str) -> str:
        return content_hash({found.day: found.content_hash for found in manifests(dataset)})

    features = manifests("features")
    raw = [lake.manifest("ticks", key, day) for key in lake.keys("ticks") for day in days]
    same = [found for found in raw if found is not None and found.key.startswith(symbol.removeprefix("KQ.m@"))]
    return {
        "ticks": sum(found.rows for found in same),
        "main_l5_ticks": sum(found.rows for found in manifests("main_l5")),
        "contracts": sorted({found.key for found in same}),
        "days": len(days),
        "first_day": str(days[0]),
        "last_day": str(days[-1]),
        "segments": len({schedule.contract_on(day).segment_id for day in days}),
        "factors": len(features[-1].extra["factor_set"]["factors"]),
        "left_out": features[-1].extra["left_out"],
        "hashes": {
            "ticks": content_hash({f"{found.key} {found.day}": found.content_hash for found in same}),
            "main_l5": hashed("main_l5"),
            "factors": hashed("features"),
            "labels": hashed("labels"),
        },
    }
