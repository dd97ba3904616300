"""The named factor sets, each factor with its meaning, unit and paper, and the page that lists them.

What belongs here: which factors there are, and why. A factor that needs a deeper level than the first is marked by the
sources it uses, never by hand.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass

from ghtrader_base.errors import UsageError
from ghtrader_models.factors import sources
from ghtrader_models.factors.expressions import EXPRESSIONS, Expression, signature
from ghtrader_models.factors.factor_set import FactorSet
from ghtrader_models.factors.parser import NAMES, parse

__all__ = ["Factor", "FactorSet", "factors_of", "get_factor_set", "set_names", "to_markdown"]


@dataclass(frozen=True)
class Factor:
    """One factor of the library.

    Attributes
    ----------
    name : str
        Column name.
    expression : Expression
        What is computed.
    unit : str
        ``1`` where it has none.
    doc : str
        What it says about the market.
    paper : str
        Source of the idea; empty where it is everybody's.
    """

    name: str
    expression: Expression
    unit: str
    doc: str
    paper: str = ""


_CKS = "Cont, Kukanov, Stoikov 2014"
_GB = "Gould, Bonart 2016"
_XGH = "Xu, Gould, Howison 2018"
_LR = "Lee, Ready 1991"
_ST = "Stoikov 2018"
_CHW = "Cao, Hansch, Wang 2009"
_ABD = "Andersen, Bollerslev, Diebold, Labys 2003"


def _lean() -> list[Factor]:
    rows = [
        ("spread", "Spread()", "price ticks", "What crossing costs; wide right after a queue was cleared.", ""),
        ("microprice_offset", "MicropriceOffset()", "price ticks", "Where the touch leans within the spread.", _ST),
        ("imbalance_1", "Imbalance(1)", "1", "Which queue at the touch is longer.", _GB),
        ("imbalance_2", "Imbalance(2)", "1", "Which queue at the second level is longer.", _CHW),
        ("imbalance_3", "Imbalance(3)", "1", "Which queue at the third level is longer.", _CHW),
        ("imbalance_4", "Imbalance(4)", "1", "Which queue at the fourth level is longer.", _CHW),
        ("imbalance_5", "Imbalance(5)", "1", "Which queue at the fifth level is longer.", _CHW),
        ("cum_imbalance_5", "CumImbalance(5)", "1", "Which side of the visible book is heavier.", _CHW),
        ("imbalance_1_mean_5", "Mean(Imbalance(1), 5)", "1", "Leaning of the touch, short memory.", _GB),
        ("imbalance_1_mean_20", "Mean(Imbalance(1), 20)", "1", "Leaning of the touch, middle memory.", _GB),
        ("imbalance_1_mean_100", "Mean(Imbalance(1), 100)", "1", "Leaning of the touch, long memory.", _GB),
        ("cum_imbalance_5_mean_20", "Mean(CumImbalance(5), 20)", "1", "Leaning of the book, middle memory.", _CHW),
        ("cum_imbalance_5_mean_100", "Mean(CumImbalance(5), 100)", "1", "Leaning of the book, long memory.", _CHW),
        (
            "imbalance_1_fresh",
            "AtChange(Imbalance(1), Mid())",
            "1",
            "How the touch was filled right after the mid last moved: who was quicker to join the new queue.",
            "",
        ),
        ("imbalance_1_fresh_ema_100", "Ema(AtChange(Imbalance(1), Mid()), 100)", "1", "Several moves.", ""),
        ("log_bid_volume_1", "Log(BidVolume(1))", "log lots", "Length of the best bid queue.", ""),
        ("log_ask_volume_1", "Log(AskVolume(1))", "log lots", "Length of the best ask queue.", ""),
        ("log_bid_depth_5", "Log(Depth('bid', 5))", "log lots", "Lots bid on the visible book.", ""),
        ("log_ask_depth_5", "Log(Depth('ask', 5))", "log lots", "Lots offered on the visible book.", ""),
        ("ofi_1", "Ofi(1)", "lots", "Net pressure of orders, cancels and trades on the touch, this tick.", _CKS),
        ("ofi_1_sum_5", "Sum(Ofi(1), 5)", "lots", "The same over 5 ticks.", _CKS),
        ("ofi_1_sum_20", "Sum(Ofi(1), 20)", "lots", "The same over 20 ticks.", _CKS),
        ("ofi_1_sum_100", "Sum(Ofi(1), 100)", "lots", "The same over 100 ticks.", _CKS),
        (
            "ofi_1_share_50",
            "Ratio(Sum(Ofi(1), 50), Sum(Abs(Ofi(1)), 50))",
            "1",
            "Net over gross pressure on the touch: direction without activity.",
            _CKS,
        ),
        ("multi_ofi_5_sum_5", "Sum(MultiOfi(5), 5)", "lots", "Net pressure on five levels over 5 ticks.", _XGH),
        ("multi_ofi_5_sum_20", "Sum(MultiOfi(5), 20)", "lots", "The same over 20 ticks.", _XGH),
        ("multi_ofi_5_sum_100", "Sum(MultiOfi(5), 100)", "lots", "The same over 100 ticks.", _XGH),
        ("signed_volume", "SignedVolume()", "lots", "Lots bought less lots sold by aggressors, this tick.", _LR),
        ("signed_volume_sum_5", "Sum(SignedVolume(), 5)", "lots", "The same over 5 ticks.", _LR),
        ("signed_volume_sum_20", "Sum(SignedVolume(), 20)", "lots", "The same over 20 ticks.", _LR),
        ("signed_volume_sum_100", "Sum(SignedVolume(), 100)", "lots", "The same over 100 ticks.", _LR),
        (
            "signed_share_100",
            "Ratio(Sum(SignedVolume(), 100), Sum(VolumeDelta(), 100))",
            "1",
            "Share of volume that bought less the share that sold; 0 where nothing traded.",
            _LR,
        ),
        ("trade_sign_mean_20", "Mean(TradeSign(), 20)", "1", "Buying less selling ticks, sizes left out.", _LR),
        ("trade_sign_mean_100", "Mean(TradeSign(), 100)", "1", "The same over 100 ticks.", _LR),
        ("mid_return_1", "MidReturn(1)", "price ticks", "Move of the mid, this tick.", ""),
        ("mid_return_5", "MidReturn(5)", "price ticks", "Move of the mid over 5 ticks.", ""),
        ("mid_return_20", "MidReturn(20)", "price ticks", "Move of the mid over 20 ticks.", ""),
        ("mid_return_100", "MidReturn(100)", "price ticks", "Move of the mid over 100 ticks.", ""),
        ("mid_range_100", "Range(Mid(), 100)", "price ticks", "Span that the mid has covered.", ""),
        ("volatility_100", "Std(MidReturn(1), 100)", "price ticks", "Realised volatility a tick.", _ABD),
        ("log_volume_20", "Log(Add(Sum(VolumeDelta(), 20), 1))", "log lots", "How busy it is now.", ""),
        ("log_volume_100", "Log(Add(Sum(VolumeDelta(), 100), 1))", "log lots", "How busy it has been.", ""),
        ("open_interest_sum_100", "Sum(OpenInterestChange(), 100)", "lots", "Positions opened less closed.", ""),
    ]
    return [Factor(name, parse(text), unit, doc, paper) for name, text, unit, doc, paper in rows]


_SETS = {"lean": _lean}
_TITLES = {"lean": "a small set for demonstrations and first models: touch, book, flow, trades, path"}


def set_names() -> tuple[str, ...]:
    """Names of the sets there are."""
    return tuple(_SETS)


def factors_of(name: str) -> tuple[Factor, ...]:
    """The factors of a named set, documented.

    Raises
    ------
    UsageError
        There is no such set.
    """
    if name not in _SETS:
        raise UsageError(f"unknown factor set {name!r}", f"known sets: {', '.join(_SETS)}")
    return tuple(_SETS[name]())


def get_factor_set(name: str, levels: int = 5) -> FactorSet:
    """A named set, restricted to what a recording of so many levels can feed.

    Parameters
    ----------
    name : str
        ``lean``.
    levels : int
        Levels of the recording, 1 to 5.

    Raises
    ------
    UsageError
        There is no such set, or nothing of it is left.
    """
    factors = factors_of(name)
    return FactorSet(name, {factor.name: factor.expression for factor in factors}).restrict_levels(levels)[0]


def to_markdown() -> str:
    """The page ``docs/factors.md``: the language and every set, from the code alone."""
    lines = [
        "# Factors",
        "",
        "Made from the code by `python -m ghtrader_models.factors.library > docs/factors.md`; a test holds them equal.",
        "",
        "A factor is an expression over order-book ticks, computed causally: it sees the present and earlier ticks of",
        "its trading day. Prices are in price ticks of the contract, volumes in lots. NaN means not known: before its",
        "window is full of finite values, where a level it reads is absent, and for a whole window after such a value.",
        "Each day starts cold. Batch and live run the same compiled step and agree to the last bit.",
        "",
        "```python",
        "engine = FactorEngine(get_factor_set('lean'), price_tick=10.0, multiplier=5)",
        "day = engine.batch(datetime_ns, values)        # int64[n], float64[27, n] -> float32[n, F]",
        "engine.reset()                                 # the next trading day",
        "now = engine.update(datetime_ns[0], values[:, 0])  # float32[F], the engine's own buffer",
        "```",
        "",
        "A window is kept as the sums from each of its places to the end of the block before, and the sum of the block",
        "being filled. Nothing is subtracted, so nothing is left behind by a level shift, an outlier or a gap, and a",
        "saved state goes on with the same bits. Every factor has the same bits in any set. Times on two cores, and",
        "against polars: `python tests/benchmarks/bench_factors.py`.",
    ]
    for name in _SETS:
        factors = factors_of(name)
        deep = sum(factor.expression.levels_needed() > 1 for factor in factors)
        lines += [
            "",
            f"## Set `{name}`: {_TITLES[name]}",
            "",
            f"{len(factors)} factors; {deep} need depth and are left out on one-level recordings. Warm after "
            f"{get_factor_set(name).warm_up_ticks} ticks.",
            "",
            "| factor | expression | unit | levels | warm | meaning | paper |",
            "|---|---|---|---|---|---|---|",
        ]
        for factor in factors:
            expr = factor.expression
            lines.append(
                f"| `{factor.name}` | `{expr}` | {factor.unit} | {expr.levels_needed()} | {expr.warm_up()} "
                f"| {factor.doc} | {factor.paper} |"
            )
    for title, is_source in (("Sources", True), ("Operators", False)):
        lines += ["", f"## {title}", "", "| written | meaning |", "|---|---|"]
        for name, cls in sorted(NAMES.items()):
            if issubclass(cls, sources.Source) == is_source:
                lines.append(f"| `{signature(cls)}` | {_one_line(EXPRESSIONS[name])} |")
    return "\n".join(lines) + "\n"


def _one_line(cls: type[Expression]) -> str:
    text = " ".join((inspect.getdoc(cls) or "").split())
    return text.replace("``", "`").replace("|", "\\|")


if __name__ == "__main__":
    print(to_markdown(), end="")
