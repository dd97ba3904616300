"""Says which lots an order to close takes, and so which fee it pays: each exchange has its own rule.

What a fee is stands in `accounting/fees.py`, how lots are booked in `accounting/positions.py`.

SHFE and INE leave the choice to the order: CLOSE is yesterday's lots, CLOSETODAY today's. The others know CLOSE alone.
CFFEX charges what was opened and closed on one day as closed today, whatever is held from before (its notice on fees of
2 February 2018): today's lots go first. DCE, CZCE and GFEX close what was opened first: yesterday's lots go first.
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
