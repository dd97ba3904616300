"""What the library says of one factor: name, group, expression, meaning, paper. Unit and depth follow from them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ghtrader_models.factors.expressions import Expression
from ghtrader_models.factors.library_units import unit_of
from ghtrader_models.factors.parser import parse

PAPERS = {
    "ABD": "Andersen, Bollerslev, Diebold, Labys (2003), Modeling and forecasting realized volatility, Econometrica 71",
    "CHW": "Cao, Hansch, Wang (2009), The information content of an open limit-order book, J. Futures Markets 29(1)",
    "CKS": "Cont, Kukanov, Stoikov (2014), The price impact of order book events, J. Financial Econometrics 12(1)",
    "GB": "Gould, Bonart (2016), Queue imbalance as a one-tick-ahead price predictor, Market Microstructure and"
    " Liquidity 2(2)",
    "LR": "Lee, Ready (1991), Inferring trade direction from intraday data, J. Finance 46(2)",
    "ST": "Stoikov (2018), The micro-price: a high-frequency estimator of future prices, Quantitative Finance 18(12)",
    "XGH": "Xu, Gould, Howison (2018), Multi-level order-flow imbalance in a limit order book, Market Microstructure"
    " and Liquidity 4(3-4)",
}
"""Short name to reference."""


@dataclass(frozen=True)
class Factor:
    """One factor of the library.

    Attributes
    ----------
    name : str
        Column name.
    group : str
        What kind of thing it says: one of `library.GROUPS`.
    expression : Expression
        What is computed.
    doc : str
        What it says about the market, in one line.
    paper : str
        Key of `PAPERS`; empty where the idea is everybody's.
    """

    name: str
    group: str
    expression: Expression
    doc: str
    paper: str = ""

    @property
    def unit(self) -> str:
        """``1`` where it has none."""
        return unit_of(self.expression)

    @property
    def levels(self) -> int:
        """Book levels it needs; above 1 a one-level recording cannot feed it."""
        return self.expression.levels_needed()

    @property
    def warm_up(self) -> int:
        """Ticks up to and including the first that has a value."""
        return self.expression.warm_up()

    @property
    def reference(self) -> str:
        """The paper written out; empty where there is none."""
        return PAPERS[self.paper] if self.paper else ""


def made(group: str, rows: Iterable[tuple[str, str, str, str]]) -> list[Factor]:
    """Factors of one group from (name, expression as text, meaning, key of the paper)."""
    return [Factor(name, group, parse(text), doc, paper) for name, text, doc, paper in rows]


def over(group: str, name: str, text: str, windows: Iterable[int], doc: str, paper: str = "") -> list[Factor]:
    """One factor a window: ``{w}`` in name, expression and meaning is the window.

    Examples
    --------
    >>> [factor.name for factor in over("price", "mid_return_{w}", "MidReturn({w})", (5, 20), "Move over {w} ticks.")]
    ['mid_return_5', 'mid_return_20']
    """
    return made(group, [(name.format(w=w), text.format(w=w), doc.format(w=w), paper) for w in windows])
