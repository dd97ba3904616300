"""Parses instrument symbols as TqSdk writes them: `SHFE.cu2502` (a contract), `KQ.m@SHFE.cu` (a continuous series).

Each exchange has its own way to write a contract, and no other one is accepted. CZCE prints one digit of the year, so
that `CZCE.SR501` is 2015-01, 2025-01 and 2035-01: a day on which the contract is spoken of decides, and a day that is
far from all of them is refused. Options and combinations of contracts are refused by name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import NamedTuple

from ghtrader_base.errors import UsageError

NEAR_MONTHS = 36
"""A one-digit year counts where its delivery month is at most so many months away from the day at hand: no CZCE
contract is listed for longer, and a question about one that expired longer ago has to say when."""


class Exchange(StrEnum):
    """The futures exchanges, as TqSdk names them."""

    SHFE = "SHFE"
    INE = "INE"
    DCE = "DCE"
    CZCE = "CZCE"
    CFFEX = "CFFEX"
    GFEX = "GFEX"


class Notation(NamedTuple):
    """How an exchange writes a contract: case of the product, digits of the delivery (year, then two of the month)."""

    upper: bool
    digits: int
    example: str


NOTATIONS = {
    Exchange.SHFE: Notation(False, 4, "SHFE.cu2502"),
    Exchange.INE: Notation(False, 4, "INE.sc2503"),
    Exchange.DCE: Notation(False, 4, "DCE.m2505"),
    Exchange.CZCE: Notation(True, 3, "CZCE.SR505"),
    Exchange.CFFEX: Notation(True, 4, "CFFEX.IF2503"),
    Exchange.GFEX: Notation(False, 4, "GFEX.si2505"),
}

_MAIN, _INDEX = "KQ.m@", "KQ.i@"
# [0-9] and not \d, which takes any script's digits; fullmatch and not $, which passes a newline at the end.
_SYMBOL = re.compile(r"(KQ\.[mi]@)?([A-Z]{3,5})\.([A-Za-z]{1,2})([0-9]{3,4})?")
_OPTION = re.compile(r"[A-Z]{3,5}\.[A-Za-z]{1,2}[0-9]{3,4}(-?(MS-?)?[CP]-?[0-9]+)")
_COMBINATION = re.compile(r"[A-Z]{3,5}\.[A-Z]+ .+&.+")


class Delivery(NamedTuple):
    """Delivery month of a contract: four digits of the year, and 1-12. Sorts by time."""

    year: int
    month: int


@dataclass(frozen=True)
class Symbol:
    """A parsed symbol. `delivery` is the digits as printed (`2502`, at CZCE `502`), empty for a continuous series.

    `index` is True for the vendor's index of a product (`KQ.i@SHFE.cu`), which is continuous and never traded.
    """

    exchange: str
    product: str
    delivery: str = ""
    index: bool = False

    @property
    def continuous(self) -> bool:
        """Whether this names a series of a product and not one contract."""
        return not self.delivery

    @property
    def month(self) -> int:
        """Delivery month, 1-12."""
        return int(self.delivery[-2:])

    def delivered(self, day: date) -> Delivery:
        """Delivery month of a contract that is spoken of on `day`.

        Two digits of the year count from 2000, whatever the day. With one digit it is the delivery nearest to `day`.

        Parameters
        ----------
        day : date
            A trading day of the contract, or any day near its life.

        Raises
        ------
        UsageError
            No year that ends in the digit is within `NEAR_MONTHS` of `day`; or this is a continuous series.
        """
        if self.continuous:
            raise UsageError(f"{self} has no delivery month: it is a continuous series", "name a contract")
        if len(self.delivery) == 4:
            return Delivery(2000 + int(self.delivery[:2]), self.month)
        decade = day.year - day.year % 10 + int(self.delivery[0])
        years = sorted((decade - 10, decade, decade + 10), key=lambda year: self._months_from(day, year))
        if self._months_from(day, years[0]) > NEAR_MONTHS:
            either = " or ".join(f"{year}-{self.month:02d}" for year in sorted(years[:2]))
            raise UsageError(
                f"on {day} {self} may be {either}: {self.exchange} prints one digit of the year",
                f"name a contract or a day at most {NEAR_MONTHS} months apart",
            )
        return Delivery(years[0], self.month)

    def _months_from(self, day: date, year: int) -> int:
        return abs((year - day.year) * 12 + self.month - day.month)

    def __str__(self) -> str:
        name = f"{self.exchange}.{self.product}{self.delivery}"
        return f"{_INDEX if self.index else _MAIN}{name}" if self.continuous else name


def parse_symbol(text: str) -> Symbol:
    """Parse a contract (`SHFE.cu2502`, `CZCE.SR505`), a main series (`KQ.m@SHFE.cu`) or an index (`KQ.i@SHFE.cu`).

    Raises
    ------
    UsageError
        None of these as the exchange writes it; the sentence says whether it is an option, a combination, or what is
        wrong with case, digits or month.
    """
    match = _SYMBOL.fullmatch(text)
    if match is None or (match[1] is None) == (match[4] is None):
        raise _refused(text, *_what_it_is(text))
    series, exchange, product, delivery = match.groups(default="")
    if exchange not in NOTATIONS:
        known = ", ".join(NOTATIONS)
        raise _refused(text, f"{exchange} is no futures exchange known here", f"known are {known}")
    written = NOTATIONS[Exchange(exchange)]
    if product != (product.upper() if written.upper else product.lower()):
        case = "capitals" if written.upper else "small letters"
        raise _refused(text, f"{exchange} writes its products in {case}", f"as in {written.example}")
    if delivery and len(delivery) != written.digits:
        digits = f"{written.digits} digits, {written.digits - 2} of the year and 2 of the month"
        raise _refused(text, f"{exchange} writes a delivery in {digits}", f"as in {written.example}")
    if delivery and not 1 <= int(delivery[-2:]) <= 12:
        raise _refused(text, f"{delivery[-2:]} is no month", f"write it as in {written.example}")
    return Symbol(exchange, product, delivery, series == _INDEX)


def _what_it_is(text: str) -> tuple[str, str]:
    contracts = "name a futures contract, as SHFE.cu2502, or a main series, as KQ.m@SHFE.cu"
    if _OPTION.fullmatch(text):
        return "it is an option, and only futures are known here", contracts
    if _COMBINATION.fullmatch(text):
        return "it is a combination of contracts, and only single contracts are known here", contracts
    return "", "write a contract as SHFE.cu2502 or a main series as KQ.m@SHFE.cu"


def _refused(text: str, reason: str, hint: str) -> UsageError:
    return UsageError(f"{text!r} is no symbol" + (f": {reason}" if reason else ""), hint)


def continuous_symbol(exchange: str, product: str) -> str:
    """Name of the main series of a product: `KQ.m@SHFE.cu`."""
    return str(Symbol(exchange, product))
