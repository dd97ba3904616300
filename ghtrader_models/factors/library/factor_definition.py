"""Defines what the library says of one factor: name, group, expression, meaning, paper.

Unit and depth follow from them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ghtrader_models.factors.language.expressions import Expression, Window
from ghtrader_models.factors.language.parser import parse
from ghtrader_models.factors.library.units import unit_of

PAPERS = {
    "ABD": "Andersen, Bollerslev, Diebold, Labys (2003), Modeling and forecasting realized volatility,"
    " Econometrica 71(2)",
    "AM": "Amihud (2002), Illiquidity and stock returns, J. Financial Markets 5(1)",
    "BNS": "Barndorff-Nielsen, Shephard (2004), Power and bipower variation with stochastic volatility and jumps,"
    " J. Financial Econometrics 2(1)",
    "CHW": "Cao, Hansch, Wang (2009), The information content of an open limit-order book, J. Futures Markets 29(1)",
    "CKS": "Cont, Kukanov, Stoikov (2014), The price impact of order book events, J. Financial Econometrics 12(1)",
    "GB": "Gould, Bonart (2016), Queue imbalance as a one-tick-ahead price predictor, Market Microstructure and"
    " Liquidity 2(2)",
    "GM": "Glosten, Milgrom (1985), Bid, ask and transaction prices in a specialist market, J. Financial"
    " Economics 14(1)",
    "HA": "Hawkes (1971), Spectra of some self-exciting and mutually exciting point processes, Biometrika 58(1)",
    "KA": "Karpoff (1987), The relation between price changes and trading volume, J. Financial and Quantitative"
    " Analysis 22(1)",
    "KF": "Kaufman (1995), Smarter Trading: the efficiency ratio",
    "KY": "Kyle (1985), Continuous auctions and insider trading, Econometrica 53(6)",
    "LF": "Lillo, Farmer (2004), The long memory of the efficient market, Studies in Nonlinear Dynamics &"
    " Econometrics 8(3)",
    "LR": "Lee, Ready (1991), Inferring trade direction from intraday data, J. Finance 46(2)",
    "NS": "Naes, Skjeltorp (2006), Order book characteristics and the volume-volatility relation, J. Financial"
    " Markets 9(4)",
    "PS": "Patton, Sheppard (2015), Good volatility, bad volatility, Review of Economics and Statistics 97(3)",
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


def over(group: str, name: str, text: str, windows: Iterable[Window], doc: str, paper: str = "") -> list[Factor]:
    """One factor a window: ``{w}`` in name and expression is the window, ``{t}`` in the meaning its length in words.

    Examples
    --------
    >>> for factor in over("price", "mid_return_{w}", "MidReturn({w})", (5, "2m"), "Move of the mid over {t}."):
    ...     print(factor.name, factor.expression, factor.doc)
    mid_return_5 MidReturn(5) Move of the mid over 5 ticks.
    mid_return_2m MidReturn('2m') Move of the mid over 2 minutes.
    """
    rows = [(name.format(w=w), text.format(w=repr(w)), doc.format(t=in_words(w)), paper) for w in windows]
    return made(group, rows)


def in_words(window: Window) -> str:
    """``20 ticks``, ``45 seconds``, ``2 minutes``."""
    if isinstance(window, int):
        return f"{window} tick{'s' if window > 1 else ''}"
    number, unit = int(window[:-1]), {"s": "second", "m": "minute", "h": "hour"}[window[-1]]
    return f"{number} {unit}{'s' if number > 1 else ''}"
