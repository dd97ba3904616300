"""Evaluates a factor set on days of the lake: ticks in, a report out.

What belongs here: reading days one at a time, computing their factors, and putting scores into one document. Factors
are computed from the ticks, not read from features, so a set can be looked at before it is built. The scores are in
`scores`, the drawing in `page`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ghtrader_base.errors import UsageError
from ghtrader_base.files import atomic_write_json, atomic_write_text, ensure_dir
from ghtrader_base.version import code_version
from ghtrader_market.reference.session_times import factor_clock
from ghtrader_market.reference.tick_schema import has_depth, unrecorded_columns, values_matrix
from ghtrader_market.reference.trading_calendar import TradingCalendar
from ghtrader_market.reference.varieties import variety_of
from ghtrader_models.bundles.left_out_days import LeftOutDay, describe_left_out
from ghtrader_models.datasets.day_selection import DayTraits, select_days, without_rows
from ghtrader_models.datasets.tick_input import read_source, times_of
from ghtrader_models.factors.factor_set import FactorSet
from ghtrader_models.factors.language.expressions import LANGUAGE_VERSION
from ghtrader_models.labels.labels import mid_prices
from ghtrader_models.research.clusters import SAME, cluster_factors
from ghtrader_models.research.factor_report import FactorFinding, FactorGroup, FactorReport, HorizonScores
from ghtrader_models.research.persistence import SENTENCE, SLOW
from ghtrader_models.research.scores import FactorDay, FactorScores, information_coefficients

if TYPE_CHECKING:
    from ghtrader_market.stores.lake.lake import Lake

REPORT, PAGE = "report.json", "report.html"
JUDGED = 50


def evaluate_factors(
    lake: Lake,
    calendar: TradingCalendar,
    kind: str,
    symbol: str,
    days: Sequence[date],
    factor_set: FactorSet,
    horizons: Sequence[int] = (10, 50, 200),
    *,
    shuffles: int = 2000,
    seed: int = 0,
    on_day: Callable[[int, int], None] | None = None,
) -> tuple[FactorScores, FactorSet]:
    """Score every factor of a set on days of the lake; one day of factors is in memory at a time.

    Parameters
    ----------
    lake, calendar
        Where the ticks are, and their sessions.
    kind : str
        ``main_l5``, or ``ticks`` for one contract.
    symbol : str
        ``KQ.m@SHFE.cu``, or one contract.
    days : sequence of date
        Trading days.
    factor_set : FactorSet
        Days that feed another part of it than the most do, and days without a mid, are left out by name
        (`FactorScores.left_out`).
    horizons, shuffles, seed, on_day
        As `scores.information_coefficients`.

    Returns
    -------
    FactorScores
        Of the factors that these days feed.
    FactorSet
        These.

    Raises
    ------
    UsageError
        No days or horizons, no day with a mid, or no factor that the days feed.
    FailedError, IntegrityError
        A day is not here or not whole.
    """
    wanted = sorted(set(days))
    if not wanted:
        raise UsageError(f"no days of {symbol} to evaluate factors on", "build main_l5 first: ghtrader main-l5")
    fed: dict[date, _FedDay] = {}
    left_out: list[LeftOutDay] = []
    for day in wanted:
        table = read_source(lake, kind, symbol, day, calendar).table
        mid, session = _targets(table, calendar, symbol, day)
        if np.isfinite(mid).any():
            levels = 5 if has_depth(table) else 1
            fed[day] = _FedDay(mid, session, levels, frozenset(unrecorded_columns(table)))
        else:
            left_out.append(without_rows(day))
    chosen = select_days(_traits(day, each, factor_set, calendar) for day, each in fed.items())
    left_out = sorted((*left_out, *chosen.left_out), key=lambda each: each.day)
    if not chosen.kept:
        raise UsageError(f"no day of {symbol} can be judged: {describe_left_out(left_out)}", "choose other days")
    used = _fed_factors(factor_set, fed[chosen.kept[-1]])
    prepared = [
        FactorDay(day.isoformat(), fed[day].mid, _factors_of(lake, calendar, kind, symbol, day, used), fed[day].session)
        for day in chosen.kept
    ]
    scores = information_coefficients(
        prepared, used.names, horizons, shuffles=shuffles, seed=seed, on_day=on_day
    )  # fmt: skip
    return replace(scores, left_out=tuple(left_out)), used


@dataclass(frozen=True)
class _FedDay:
    """What a day can feed factors with: mid in price ticks, session of each row, levels, and columns it lacks."""

    mid: np.ndarray
    session: np.ndarray
    levels: int
    missing: frozenset[str]


def _fed_factors(factor_set: FactorSet, day: _FedDay) -> FactorSet:
    """The part of the set that a day can feed; UsageError where that is nothing."""
    used, _ = factor_set.restrict_levels(day.levels)
    return used.restrict_columns(day.missing)[0]


def _traits(day: date, fed: _FedDay, factor_set: FactorSet, calendar: TradingCalendar) -> DayTraits:
    """Days go together that feed the same factors."""
    try:
        factors = _fed_factors(factor_set, fed).spec().factors
    except UsageError:
        factors = ()
    return DayTraits(
        day=day, levels=fed.levels, language=LANGUAGE_VERSION, factors=factors, labels=("", 0.0), horizons=(),
        trading=not calendar.speaks_for(day) or calendar.is_trading_day(day),
    )  # fmt: skip


def _targets(table: Any, calendar: TradingCalendar, symbol: str, day: date) -> tuple[np.ndarray, np.ndarray]:
    """Mid in price ticks, and the session of each row."""
    contract = table.column("underlying_contract")[0].as_py()
    price_tick = variety_of(contract).price_tick(contract, day)
    session = calendar.session_index(variety_of(symbol), day, times_of(table))
    return mid_prices(values_matrix(table)) / price_tick, session


def _factors_of(
    lake: Lake, calendar: TradingCalendar, kind: str, symbol: str, day: date, used: FactorSet
) -> Callable[[], np.ndarray]:
    """A function that computes the day's factors, float32[n, F], when its turn comes."""

    def compute() -> np.ndarray:
        from ghtrader_models.factors.engine import FactorEngine

        source = read_source(lake, kind, symbol, day, calendar)
        variety = variety_of(source.contract)
        sessions = calendar.sessions(variety, day)
        bounds = sessions if used.needs_session else None
        engine = FactorEngine(used, variety.price_tick(source.contract, day), variety.multiplier, bounds)
        return engine.batch(factor_clock(times_of(source.table), sessions), values_matrix(source.table))

    return compute


def report_of(scores: FactorScores, used: FactorSet, symbol: str, *, seed: int | None = None) -> FactorReport:
    """Everything a reader may want to know: factors by |IC| over chance at the judged horizon, and their groups.

    Parameters
    ----------
    scores : FactorScores
    used : FactorSet
    symbol : str
    seed : int, optional
        Of the shuffles, to be kept.
    """
    judged = JUDGED if JUDGED in scores.horizons else scores.horizons[len(scores.horizons) // 2]
    cluster, _ = cluster_factors(scores.correlation)
    order = scores.ranked(judged)
    first: dict[int, int] = {}
    for index in order:
        first.setdefault(int(cluster[index]), int(index))
    bias = np.stack([scores.bias(horizon) for horizon in scores.horizons], axis=1)
    factors = [
        FactorFinding(
            rank=rank,
            name=scores.names[index],
            horizons=_by_horizon(scores, int(index)),
            decay=_numbers(scores.decay[index]),
            coverage=_number(scores.coverage[index]),
            turnover=_number(scores.turnover[index]),
            memory=_number(scores.memory[index]),
            persistence=_number(scores.persistence[index]),
            cluster=int(cluster[index]),
            represents=first[int(cluster[index])] == int(index),
            bias={str(h): _number(value) for h, value in zip(scores.horizons, bias[index], strict=True)},
            slow=bool(bias[index, scores.horizons.index(judged)] > SLOW),
        )
        for rank, index in enumerate(order, 1)
    ]
    groups = [
        FactorGroup(
            cluster=number,
            representative=scores.names[lead],
            members=[factor.name for factor in factors if factor.cluster == number],
        )
        for number, lead in first.items()
    ]
    return FactorReport(
        symbol=symbol,
        factor_set=used.name,
        spec_hash=used.spec_hash,
        days=list(scores.days),
        left_out=list(scores.left_out),
        horizons=list(scores.horizons),
        judged_horizon=judged,
        decay_horizons=list(scores.decay_horizons),
        ic="Spearman over the rows of a day, mean over days, 95 % t interval over days",
        p_value_method=f"{scores.method} targets, {scores.shuffles} orders; adjusted: max-statistic over "
        f"{len(scores.names) * len(scores.horizons)} tests",
        same_from=SAME,
        slow_from=SLOW,
        slow=SENTENCE,
        factors=factors,
        clusters=groups,
        code_version=code_version(),
        made_at=datetime.now().astimezone().isoformat(timespec="seconds"),
        seed=seed,
    )


def _by_horizon(scores: FactorScores, index: int) -> dict[str, HorizonScores]:
    return {
        str(horizon): HorizonScores(
            ic=_number(scores.ic[index, h]),
            low=_number(scores.low[index, h]),
            high=_number(scores.high[index, h]),
            p_value=_number(scores.p_value[index, h]),
            p_adjusted=_number(scores.p_adjusted[index, h]),
            chance_std=_number(scores.null_std[index, h]),
            over_chance=_number(scores.strength[index, h]) if scores.shuffles else None,
            day_agreement=_number(scores.agreement[index, h]),
            by_day=_numbers(scores.day_ic[:, index, h]),
            by_session=_numbers(scores.session_ic[:, index, h]),
        )
        for h, horizon in enumerate(scores.horizons)
    }


def _numbers(values: np.ndarray) -> list[float | None]:
    return [_number(value) for value in values]


def _number(value: Any) -> float | None:
    return round(float(value), 6) if np.isfinite(value) else None


def save_report(folder: Path, report: FactorReport, scores: FactorScores) -> Path:
    """Write `report.json` and `report.html`; the page first, so that the JSON never speaks of one that is not there."""
    from ghtrader_models.research.page import render

    ensure_dir(folder)
    atomic_write_text(folder / PAGE, render(report, scores))
    atomic_write_json(folder / REPORT, report.to_dict())
    return folder / REPORT
