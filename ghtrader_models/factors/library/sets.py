"""Defines the named factor sets: which factors each holds, and how one is found by name.

What belongs here: the sets and the look-up. The factors themselves are in `book`, `order_flow`, ... by theme;
what is said about one in `explain`, the page of all in `docs_page`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import cache

from ghtrader_base.errors import UsageError
from ghtrader_models.factors.factor_set import FactorSet
from ghtrader_models.factors.library.book_factors import (
    book_column_names,
    book_columns,
    book_factors,
    touch_factors,
)
from ghtrader_models.factors.library.factor_definition import Factor
from ghtrader_models.factors.library.order_flow_factors import order_flow_factors, refill_factors
from ghtrader_models.factors.library.price_factors import (
    activity_factors,
    price_factors,
    time_factors,
    volatility_factors,
)
from ghtrader_models.factors.library.trade_factors import impact_factors, persistence_factors, trade_factors
from ghtrader_models.factors.library.user_sets import OwnSet, file_sets, own_sets

__all__ = ["GROUPS", "TITLES", "Factor", "FactorSet", "factors_of", "find_factor", "get_factor_set", "set_names"]

GROUPS = {
    "touch": "The best bid and the best ask.",
    "book": "The levels behind the touch.",
    "order flow": "Orders, cancels and trades as they change the visible queues.",
    "refill": "Queues that fill up or drain: which side's limit orders arrive.",
    "trades": "Who was the aggressor, how often, with how much.",
    "persistence": "The order in which sides come: repeating or taking turns.",
    "impact": "What flow does to the price, and who is right afterwards.",
    "price": "Where the price has come from.",
    "volatility": "How restless the price is.",
    "activity": "How busy trading is, and what it does to open positions.",
    "time": "Where in the trading day it is.",
}
"""Every group, in the order of the page."""
TITLES = {
    "core": "the whole library: what a serious model starts from",
    "lean": "a small set for demonstrations and first models: touch, book, flow, trades, path",
    "book": "the five levels themselves, 20 columns, for networks that read windows of the book",
}

_LEAN = """
spread microprice_offset imbalance_1 imbalance_2 imbalance_3 imbalance_4 imbalance_5 cum_imbalance_5
imbalance_1_mean_5 imbalance_1_mean_20 imbalance_1_mean_100 cum_imbalance_5_mean_20 cum_imbalance_5_mean_100
imbalance_1_fresh imbalance_1_fresh_ema_100 log_bid_volume_1 log_ask_volume_1 log_bid_depth_5 log_ask_depth_5
ofi_1 ofi_1_sum_5 ofi_1_sum_20 ofi_1_sum_100 ofi_1_share_50 multi_ofi_5_sum_5 multi_ofi_5_sum_20 multi_ofi_5_sum_100
signed_volume signed_volume_sum_5 signed_volume_sum_20 signed_volume_sum_100 signed_share_100
trade_sign_mean_20 trade_sign_mean_100 mid_return_1 mid_return_5 mid_return_20 mid_return_100
mid_range_100 volatility_100 log_volume_20 log_volume_100 open_interest_sum_100
"""


@cache
def _core() -> dict[str, Factor]:
    groups = (
        touch_factors,
        book_factors,
        order_flow_factors,
        refill_factors,
        trade_factors,
        persistence_factors,
        impact_factors,
        price_factors,
        volatility_factors,
        activity_factors,
        time_factors,
    )
    return {factor.name: factor for make in groups for factor in make()}


@cache
def _all() -> dict[str, Factor]:
    return {**_core(), **{factor.name: factor for factor in book_columns()}}


def set_names() -> tuple[str, ...]:
    """Names of the sets there are, your own among them."""
    return (*TITLES, *(name for name in own_sets() if name not in TITLES))


def factors_of(name: str) -> tuple[Factor, ...]:
    """The factors of a named set, documented; of ours, of your own, or of ``FILE.toml[:SET]``.

    ``core+book`` holds those of both sets, each factor once.

    Raises
    ------
    UsageError
        There is no such set.
    """
    if name in TITLES:
        members = {"core": tuple(_core()), "lean": tuple(_LEAN.split()), "book": book_column_names()}
        return tuple(_all()[key] for key in members[name])
    if (file := file_sets(name)) is not None:
        return _own_factors({**own_sets(), **file[0]}, file[1], ())
    sets = own_sets()
    if name not in sets and "+" in name:
        return tuple({factor.name: factor for part in name.split("+") for factor in factors_of(part)}.values())
    if name not in sets:
        raise UsageError(
            f"unknown factor set {name!r}", f"known sets: {', '.join(set_names())}; A+B for two; or FILE.toml"
        )
    return _own_factors(sets, name, ())


def _own_factors(sets: Mapping[str, OwnSet], name: str, inside: tuple[str, ...]) -> tuple[Factor, ...]:
    own = sets[name]
    if name in inside:
        raise UsageError(f"factor set {name!r} extends itself", " -> ".join((*inside, name)))
    start: tuple[Factor, ...] = ()
    if own.extends:
        is_own = own.extends not in TITLES and own.extends in sets
        start = _own_factors(sets, own.extends, (*inside, name)) if is_own else factors_of(own.extends)
    factors = {factor.name: factor for factor in start}
    factors |= {factor.name: Factor(factor.name, "own", factor.expression, factor.doc) for factor in own.factors}
    return tuple(factors.values())


def find_factor(name: str) -> Factor:
    """The factor called `name`.

    Raises
    ------
    UsageError
        There is none; the hint names those that are called nearly so.
    """
    if name in _all():
        return _all()[name]
    for own in own_sets():
        for factor in factors_of(own):
            if factor.name == name:
                return factor
    near = difflib.get_close_matches(name, [*_all(), *TITLES], n=4, cutoff=0.5)
    hint = f"did you mean {', '.join(near)}?" if near else "ghtrader factors list shows them all"
    raise UsageError(f"no factor is called {name!r}", hint)


def get_factor_set(name: str, levels: int = 5) -> FactorSet:
    """A named set, restricted to what a recording of so many levels can feed.

    Parameters
    ----------
    name : str
        ``core``, ``lean``, ``book``, one of your own (`own_sets`), ``FILE.toml[:SET]``, or two of them: ``core+book``.
    levels : int
        Levels of the recording, 1 to 5.

    Raises
    ------
    UsageError
        There is no such set, or nothing of it is left.
    """
    factors = factors_of(name)
    title = file[1] if (file := file_sets(name)) is not None else name
    return FactorSet(title, {factor.name: factor.expression for factor in factors}).restrict_levels(levels)[0]
