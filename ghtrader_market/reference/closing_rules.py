"""Says which lots an order to close takes, and so which fee it pays: each exchange has its own rule.

What a fee is stands in `accounting/fees.py`, how lots are booked in `accounting/positions.py`.

SHFE and INE leave the choice to the order: CLOSE is yesterday's lots, CLOSETODAY today's. The others know CLOSE alone.
CFFEX charges what was opened and closed on one day as closed today, whatever is held from before (its notice on fees of
2 February 2018): today's lots go first. DCE, CZCE and GFEX close what was opened first: yesterday's lots go first.

What other programs do at DCE, CZCE and GFEX, looked up in December 2026:

- CTP's technical guide, as three public repositories quote it: all exchanges close what was opened first; "the three
  other than SHFE", where closing today's lots is charged less, close today's lots before yesterday's. The header of the
  API has both ways (`TThostFtdcCloseStyleType`: 0 opened first, 1 today's first). The API takes CLOSETODAY and
  CLOSEYESTERDAY for CLOSE there.
- TqSdk 3.10.4 (`tradeable/sim/trade_future.py`): a simulated order freezes and takes yesterday's lots first, at every
  exchange but SHFE and INE; it charges one commission a lot whatever the age.
- JoinQuant's documentation: no ages but at SHFE, INE and CFFEX, else what was opened first.
- vnpy 4.5.0 (`trader/converter.py`, `PositionHolding.update_trade`): today's lots first at every exchange but SHFE and
  INE. It counts positions alone and computes no fee by it; the next list of the broker sets it right.
- WonderTrader (`dist/common/commodities.json`): `covermode` 0, one word for closing, at CFFEX and CZCE.

**Not verified**, for want of an exchange's own text: that DCE, CZCE and GFEX take today's lots first where closing them
costs less, and whether such a discount is the exchange's or the broker's. Here yesterday's go first in any case; with a
discount, an account that holds lots of both ages is charged too much by it, never too little.
"""

from __future__ import annotations

from ghtrader_base.plain_str_enum import PlainStrEnum
from ghtrader_market.reference.symbols import Exchange


class ClosingRule(PlainStrEnum):
    """Which lots a closing fill takes.

    BY_OFFSET
        CLOSE yesterday's alone, CLOSETODAY today's alone.
    TODAY_FIRST
        Today's, then yesterday's.
    YESTERDAY_FIRST
        Yesterday's, then today's.
    """

    BY_OFFSET = "by-offset"
    TODAY_FIRST = "today-first"
    YESTERDAY_FIRST = "yesterday-first"


CLOSING_RULES = {
    Exchange.SHFE: ClosingRule.BY_OFFSET,
    Exchange.INE: ClosingRule.BY_OFFSET,
    Exchange.CFFEX: ClosingRule.TODAY_FIRST,
    Exchange.DCE: ClosingRule.YESTERDAY_FIRST,
    Exchange.CZCE: ClosingRule.YESTERDAY_FIRST,
    Exchange.GFEX: ClosingRule.YESTERDAY_FIRST,
}
_BY_NAME = {exchange.value: rule for exchange, rule in CLOSING_RULES.items()}


def closing_rule(contract: str) -> ClosingRule:
    """The rule of the exchange that a contract (``CFFEX.IF2101``) is listed at; of any other place what was opened
    first is closed first."""
    return _BY_NAME.get(contract.partition(".")[0], ClosingRule.YESTERDAY_FIRST)
