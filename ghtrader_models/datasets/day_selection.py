"""Decides which built days form one data set, and names the others with the reason.

What belongs here: the decision alone, from what the days say of themselves; nothing is read and nothing refused. Most
days win: those that share factors and label definition with the largest number of others stay, and of equally large
groups the one with the newest day. Days whose files were changed since they were built are no odd days; `load` refuses
them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from ghtrader_models.bundles.left_out_days import LeftOutDay, LeftOutReason

_NAMED = 3


@dataclass(frozen=True, kw_only=True)
class DayTraits:
    """What decides whether a day goes with others.

    Attributes
    ----------
    day : date
        Trading day.
    levels : int
        Book levels of its ticks: 5 or 1.
    language : int
        Version of the factor language.
    factors : tuple of (str, str)
        Name and expression of each factor it has, in column order.
    labels : tuple of (str, float)
        Label definition: its name and its threshold in price ticks.
    horizons : tuple of int
        Ticks ahead that its labels look; each label stands by itself, so days may differ in the other horizons.
    trading : bool
        Whether it is a trading day, as far as the calendar knows.
    """

    day: date
    levels: int
    language: int
    factors: tuple[tuple[str, str], ...]
    labels: tuple[str, float]
    horizons: tuple[int, ...]
    trading: bool = True


@dataclass(frozen=True)
class DaySelection:
    """Which days take part.

    Attributes
    ----------
    kept : tuple of date
        Ascending; empty only where none was asked for, is a trading day and has the horizon.
    left_out : tuple of LeftOutDay
        Ascending.
    """

    kept: tuple[date, ...]
    left_out: tuple[LeftOutDay, ...]


def select_days(days: Iterable[DayTraits], horizon: int | None = None) -> DaySelection:
    """Days that belong together.

    Parameters
    ----------
    days : iterable of DayTraits
        In any order, one a trading day.
    horizon : int, optional
        Days must have labels so many ticks ahead; None where no label is asked for.
    """
    asked = sorted(days, key=lambda one: one.day)
    alone = {one.day: found for one in asked if (found := _unfit_alone(one, horizon)) is not None}
    fit = [one for one in asked if one.day not in alone]
    left_out = list(alone.values())
    if fit:
        model = _of_the_largest_group(fit)
        left_out += [found for one in fit if (found := _difference(one, model)) is not None]
    gone = {found.day for found in left_out}
    kept = tuple(one.day for one in asked if one.day not in gone)
    return DaySelection(kept, tuple(sorted(left_out, key=lambda found: found.day)))


def without_rows(day: date) -> LeftOutDay:
    """A day of which no row is usable."""
    return LeftOutDay(
        day=day, reason=LeftOutReason.NO_USABLE_ROW, detail="no row with all factors and a label (locked at its limit?)"
    )


def _unfit_alone(one: DayTraits, horizon: int | None) -> LeftOutDay | None:
    """Why a day takes no part whatever the others are; None where it may."""
    if not one.trading:
        detail = "the holiday list calls it a holiday"
        return LeftOutDay(day=one.day, reason=LeftOutReason.NO_TRADING_DAY, detail=detail)
    if horizon is not None and horizon not in one.horizons:
        detail = f"no labels at horizon {horizon}, but at {', '.join(map(str, one.horizons)) or 'none'}"
        return LeftOutDay(day=one.day, reason=LeftOutReason.HORIZON_NOT_BUILT, detail=detail)
    return None


def _of_the_largest_group(days: Sequence[DayTraits]) -> DayTraits:
    """The newest day of the group that wins."""
    groups: dict[tuple[object, ...], list[DayTraits]] = {}
    for one in days:
        groups.setdefault((one.language, one.factors, one.labels), []).append(one)
    return max(groups.values(), key=lambda group: (len(group), group[-1].day))[-1]


def _difference(one: DayTraits, model: DayTraits) -> LeftOutDay | None:
    """How a day differs from those that stay; None where it does not."""
    if one.language != model.language:
        reason = LeftOutReason.OTHER_FACTORS
        detail = f"version {one.language} of the factor language, the others {model.language}"
    elif one.factors != model.factors:
        if one.levels != model.levels:
            reason, detail = LeftOutReason.OTHER_DEPTH, f"book of {_levels(one)}, the others of {_levels(model)}"
        else:
            reason, detail = LeftOutReason.OTHER_FACTORS, _other_factors(one, model)
    elif one.labels != model.labels:
        reason = LeftOutReason.OTHER_LABELS
        detail = f"labels {_labels(one)}, the others {_labels(model)}"
    else:
        return None
    return LeftOutDay(day=one.day, reason=reason, detail=detail)


def _levels(one: DayTraits) -> str:
    return "one level" if one.levels == 1 else f"{one.levels} levels"


def _labels(one: DayTraits) -> str:
    return f"{one.labels[0]} from {one.labels[1]:g} price ticks"


def _other_factors(one: DayTraits, model: DayTraits) -> str:
    ours, theirs = dict(one.factors), dict(model.factors)
    lacks = [name for name in theirs if name not in ours]
    adds = [name for name in ours if name not in theirs]
    others = [name for name in ours if name in theirs and ours[name] != theirs[name]]
    parts = [
        f"{verb} {len(names)} ({', '.join(names[:_NAMED])}{' ...' if len(names) > _NAMED else ''})"
        for verb, names in (("lacks", lacks), ("adds", adds), ("defines otherwise", others))
        if names
    ]
    return f"another factor set: {', '.join(parts) or 'in another order'}"
