"""Scores factors against later moves of the mid, a day at a time: the pure part of factor research.

What belongs here: arrays in, arrays out. Each day's factors are looked at once and let go, so memory holds one day of
factors, the targets of all days, and a few numbers a factor and day.

The information coefficient (IC) of a day is Spearman's: the correlation of the factor's rank with the rank of
``mid[t+N] - mid[t]`` over the rows of the day (every k-th of them where a day has more than `MAX_ROWS`: neighbours
share nearly all of their target). A day's IC is one observation; means, intervals and tests are over days.

Chance is measured by **day-shuffled targets**: the days' targets change places at random, and each day's factors meet
them row by row from the day's end, so that what a factor and what a target remembers, and both their rhythm over the
day, stay as they are and only the tie between them is cut. Where there is nothing to find, the true order is an order
like any other, so the share of orders that look at least as good is an exact p-value. The largest |z| over all factors
and horizons in each order is the max-statistic of Westfall and Young (1993), "Resampling-based multiple testing": a
p-value against it holds for all tests at once. With fewer than `MIN_DAYS` days there is too little to shuffle, and the
day's own targets are rotated by a random part of the day instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ghtrader_base.errors import UsageError
from ghtrader_models.bundles.left_out_days import LeftOutDay
from ghtrader_models.evaluation.metrics import t_interval
from ghtrader_models.research.persistence import bias_bound, lag_one
from ghtrader_models.research.ranks import centred_ranks, masked_correlation
from ghtrader_models.research.significance import chance, known_mean

MAX_ROWS = 12_000
MIN_DAYS = 4
_ROTATIONS = 200
_GATHERED = ("ic", "null", "session", "coverage", "move", "memory", "persistence")


@dataclass(frozen=True)
class FactorDay:
    """One trading day of factors and of the mid they are held against.

    Attributes
    ----------
    name : str
        The day.
    mid : float64[n]
        NaN where a side of the book is empty; the unit does not matter.
    factors : float32[n, F] or callable that returns it
        A callable is called once, when the day's turn comes.
    session : int[n], optional
        Session of each row, below 0 outside; stability by session is left out where absent.
    """

    name: str
    mid: np.ndarray
    factors: np.ndarray | Callable[[], np.ndarray]
    session: np.ndarray | None = None

    def load(self) -> np.ndarray:
        """float32[n, F]."""
        return self.factors() if callable(self.factors) else self.factors


@dataclass(frozen=True, kw_only=True)
class FactorScores:
    """What each factor of a set showed; F factors, D days, H tested horizons, G horizons of the decay curve.

    Attributes
    ----------
    names, days, horizons, decay_horizons
        What the axes are.
    day_ic : float64[D, F, H]
        Information coefficient of each day.
    ic, low, high : float64[F, H]
        Mean over days and its 95 % t interval (NaN with one day).
    decay : float64[F, G]
        Mean IC over a wider range of horizons.
    p_value : float64[F, H]
        Two-sided, against shuffled targets, of that test alone.
    p_adjusted : float64[F, H]
        Against the largest |z| of all F x H tests: may be believed whichever factor it is.
    null_std : float64[F, H]
        Standard deviation of the mean IC under shuffled targets.
    agreement : float64[F, H]
        Share of days whose IC has the sign of the mean.
    session_ic : float64[S, F, H]
        Mean IC within each session; S = 0 where sessions were not given.
    coverage : float64[F]
        Share of rows with a value.
    turnover : float64[F]
        Mean change of the rank from one row to the next, as a part of the whole range: 0 stands still, 1/3 is noise.
    memory : float64[F]
        Correlation of the rank with itself one middle horizon earlier.
    persistence : float64[F]
        Correlation of the factor with itself one tick earlier, mean over days.
    rows : float
        Ticks of a day, mean over days.
    correlation : float64[F, F]
        Mean rank correlation of factors with each other.
    shuffles : int
        Of the test.
    method : str
        "day-shuffled" or "rotated".
    left_out : tuple of LeftOutDay
        Days that were asked for and took no part.
    """

    names: tuple[str, ...]
    days: tuple[str, ...]
    horizons: tuple[int, ...]
    decay_horizons: tuple[int, ...]
    day_ic: np.ndarray
    ic: np.ndarray
    low: np.ndarray
    high: np.ndarray
    decay: np.ndarray
    p_value: np.ndarray
    p_adjusted: np.ndarray
    null_std: np.ndarray
    agreement: np.ndarray
    session_ic: np.ndarray
    coverage: np.ndarray
    turnover: np.ndarray
    memory: np.ndarray
    persistence: np.ndarray
    rows: float
    correlation: np.ndarray
    shuffles: int
    method: str
    left_out: tuple[LeftOutDay, ...] = ()

    @property
    def strength(self) -> np.ndarray:
        """float64[F, H]: |IC| over what chance does to that factor and horizon; |IC| itself where that is not known.

        A factor that drifts through the day meets a price that drifts with a large IC of either sign: chance does that
        every day, and an order by |IC| alone would begin with such factors.
        """
        with np.errstate(invalid="ignore", divide="ignore"):
            over_chance: np.ndarray = np.abs(self.ic) / self.null_std
        size: np.ndarray = np.abs(self.ic)
        return over_chance if np.isfinite(self.null_std).any() else size

    def bias(self, horizon: int) -> np.ndarray:
        """float64[F]: how far the IC at a horizon may be off because the factor is slow (`persistence.bias_bound`)."""
        return bias_bound(self.persistence, self.rows, horizon)

    def ranked(self, horizon: int) -> np.ndarray:
        """int64[F]: factors by `strength` at a tested horizon, the strongest first; those without an IC last."""
        strength = self.strength[:, self.horizons.index(horizon)]
        return np.argsort(-np.where(np.isfinite(strength), strength, -1.0), kind="stable")


def information_coefficients(
    days: Sequence[FactorDay],
    names: Sequence[str],
    horizons: Sequence[int] = (10, 50, 200),
    *,
    decay_horizons: Sequence[int] = (1, 2, 5, 10, 20, 50, 100, 200, 500),
    shuffles: int = 2000,
    seed: int = 0,
    max_rows: int = MAX_ROWS,
    on_day: Callable[[int, int], None] | None = None,
) -> FactorScores:
    """Score every factor of a set on some days.

    Parameters
    ----------
    days : sequence of FactorDay
        Trading days in order; each is loaded once.
    names : sequence of str
        Factor names, in column order.
    horizons : sequence of int
        Ticks ahead that are tested.
    decay_horizons : sequence of int
        Ticks ahead of the decay curve; not tested.
    shuffles : int
        Draws of shuffled targets; 0 leaves the p-values NaN.
    seed : int
        Of the shuffles.
    max_rows : int
        Rows of a day that are looked at, spread evenly.
    on_day : callable, optional
        Told how many days are done, of how many.

    Raises
    ------
    UsageError
        No days, no horizons, or a day whose factors are not as many as the names.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> mid = np.cumsum(rng.normal(size=500))
    >>> seen = np.append(np.diff(mid), 0.0)[:, None] + rng.normal(size=(500, 1))
    >>> found = information_coefficients([FactorDay("d", mid, seen)], ["seen"], [1], shuffles=0)
    >>> bool(found.ic[0, 0] > 0.5)
    True
    """
    tested = tuple(sorted(set(horizons)))
    curve = tuple(sorted(set(decay_horizons) | set(tested)))
    if not days or not tested or tested[0] < 1:
        raise UsageError("factor research needs at least one day and one horizon", "for example --horizons 10,50,200")
    targets = [_targets(day.mid, curve, max_rows) for day in days]
    columns = [curve.index(horizon) for horizon in tested]
    shuffled = len(days) >= MIN_DAYS
    gathered: dict[str, list[np.ndarray]] = {key: [] for key in _GATHERED}
    correlation, weight = np.zeros((len(names), len(names))), np.zeros((len(names), len(names)))
    rng = np.random.default_rng(seed)
    middle = tested[len(tested) // 2]
    for index, day in enumerate(days):
        factors = day.load()
        if factors.ndim != 2 or factors.shape != (day.mid.size, len(names)):
            raise UsageError(f"factors of {day.name} have shape {factors.shape}, not {(day.mid.size, len(names))}")
        step = _step(day.mid.size, max_rows)
        gathered["coverage"].append(np.isfinite(factors).mean(axis=0))
        ranks, known = centred_ranks(factors[::step])
        y, known_y = targets[index]
        gathered["ic"].append(masked_correlation(ranks, known, y, known_y))
        if shuffles:
            partners = [(y_[:, columns], k_[:, columns]) for y_, k_ in targets]
            partners = partners if shuffled else _rotated(*partners[index], rng)
            gathered["null"].append(_against(ranks, known, partners))
        gathered["session"].append(_by_session(day, step, ranks, known, y[:, columns], known_y[:, columns]))
        gathered["move"].append(_mean_change(ranks, known))
        gathered["memory"].append(_memory(ranks, known, max(1, middle // step)))
        gathered["persistence"].append(lag_one(factors))
        own = masked_correlation(ranks, known, ranks, known)
        correlation += np.nan_to_num(own)
        weight += np.isfinite(own)
        if on_day is not None:
            on_day(index + 1, len(days))
    day_ic = np.stack(gathered["ic"])
    null = np.stack(gathered["null"]) if shuffles else None
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = correlation / weight
    return _summary(
        tuple(names), tuple(day.name for day in days), tested, curve, day_ic, columns, null, gathered, correlation,
        shuffles, shuffled, rng, float(np.mean([day.mid.size for day in days])),
    )  # fmt: skip


def _step(rows: int, max_rows: int) -> int:
    return max(1, -(-rows // max_rows))


def _targets(mid: np.ndarray, horizons: Sequence[int], max_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Ranks of later moves, float32[m, G], and which are known; the last N rows of the day are not."""
    moves = np.full((mid.size, len(horizons)), np.nan)
    for column, horizon in enumerate(horizons):
        if horizon < mid.size:
            moves[:-horizon, column] = mid[horizon:] - mid[:-horizon]
    # a hair of rounding would break ties between equal moves
    return centred_ranks(np.round(moves[:: _step(mid.size, max_rows)], 6))


def _rotated(y: np.ndarray, known: np.ndarray, rng: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray]]:
    """The day's own targets, rotated by at least a tenth of the day."""
    rows = y.shape[0]
    shifts = rng.integers(rows // 10, rows - rows // 10, _ROTATIONS)
    return [(np.roll(y, shift, axis=0), np.roll(known, shift, axis=0)) for shift in shifts]


def _against(ranks: np.ndarray, known: np.ndarray, partners: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """float32[P, F, H]: the day's factors against each partner's targets, aligned at the day's end."""
    found = []
    for y, known_y in partners:
        rows = min(ranks.shape[0], y.shape[0])
        found.append(masked_correlation(ranks[-rows:], known[-rows:], y[-rows:], known_y[-rows:]))
    return np.stack(found).astype(np.float32)


def _by_session(
    day: FactorDay, step: int, ranks: np.ndarray, known: np.ndarray, y: np.ndarray, known_y: np.ndarray
) -> np.ndarray:
    """float64[S, F, H] of one day, S the number of its sessions."""
    if day.session is None:
        return np.empty((0, ranks.shape[1], y.shape[1]))
    session = np.asarray(day.session)[::step]
    rows = [np.flatnonzero(session == one) for one in range(int(session.max(initial=-1)) + 1)]
    return np.array([masked_correlation(ranks[r], known[r], y[r], known_y[r]) for r in rows]).reshape(
        len(rows), ranks.shape[1], y.shape[1]
    )


def _mean_change(ranks: np.ndarray, known: np.ndarray) -> np.ndarray:
    """float64[F]: mean |change of rank| from row to row, where both are known."""
    both = known[1:] * known[:-1]
    with np.errstate(invalid="ignore", divide="ignore"):
        change: np.ndarray = (np.abs(np.diff(ranks, axis=0)) * both).sum(axis=0, dtype=np.float64) / both.sum(axis=0)
    return change


def _memory(ranks: np.ndarray, known: np.ndarray, lag: int) -> np.ndarray:
    """float64[F]: correlation of each column with itself `lag` rows earlier."""
    if ranks.shape[0] <= lag + 3:
        return np.full(ranks.shape[1], np.nan)
    both = known[lag:] * known[:-lag]
    now, before = ranks[lag:] * both, ranks[:-lag] * both
    with np.errstate(invalid="ignore", divide="ignore"):
        rows = both.sum(axis=0, dtype=np.float64)
        mean_now, mean_before = now.sum(axis=0) / rows, before.sum(axis=0) / rows
        covariance = (now * before).sum(axis=0) / rows - mean_now * mean_before
        spread = ((now**2).sum(axis=0) / rows - mean_now**2) * ((before**2).sum(axis=0) / rows - mean_before**2)
        return np.where(spread > 1e-14, covariance / np.sqrt(spread), np.nan)


def _summary(
    names: tuple[str, ...],
    days: tuple[str, ...],
    tested: tuple[int, ...],
    curve: tuple[int, ...],
    day_ic: np.ndarray,
    columns: list[int],
    null: np.ndarray | None,
    gathered: dict[str, list[np.ndarray]],
    correlation: np.ndarray,
    shuffles: int,
    shuffled: bool,
    rng: np.random.Generator,
    rows: float,
) -> FactorScores:
    own = day_ic[:, :, columns]
    mean = known_mean(own)
    low, high = _intervals(own)
    if null is None:
        empty = np.full(mean.shape, np.nan)
        p_value, p_adjusted, null_std = empty, empty, empty
    else:
        p_value, p_adjusted, null_std = chance(mean, null, shuffles, shuffled, rng)
    sessions = max(one.shape[0] for one in gathered["session"])
    padded = np.full((len(days), sessions, *mean.shape), np.nan)
    for index, one in enumerate(gathered["session"]):
        if one.shape[0]:
            padded[index, sessions - one.shape[0] :] = one  # a day without a night session ends like the others
    with np.errstate(invalid="ignore"):
        agreement = known_mean(np.where(np.isfinite(own), (np.sign(own) == np.sign(mean)).astype(float), np.nan))
    return FactorScores(
        names=names,
        days=days,
        horizons=tested,
        decay_horizons=curve,
        day_ic=own,
        ic=mean,
        low=low,
        high=high,
        decay=known_mean(day_ic),
        p_value=p_value,
        p_adjusted=p_adjusted,
        null_std=null_std,
        agreement=agreement,
        session_ic=known_mean(padded),
        coverage=np.mean(gathered["coverage"], axis=0),
        turnover=known_mean(np.stack(gathered["move"])),
        memory=known_mean(np.stack(gathered["memory"])),
        persistence=known_mean(np.stack(gathered["persistence"])),
        rows=rows,
        correlation=correlation,
        shuffles=shuffles,
        method="day-shuffled" if shuffled else "rotated",
    )


def _intervals(own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """float64[F, H] twice: 95 % t interval of the mean over days."""
    low, high = np.full(own.shape[1:], np.nan), np.full(own.shape[1:], np.nan)
    for place in np.ndindex(low.shape):
        values = own[(slice(None), *place)]
        values = values[np.isfinite(values)]
        if values.size > 1:
            found = t_interval(values.tolist())
            low[place], high[place] = found.low, found.high
    return low, high
