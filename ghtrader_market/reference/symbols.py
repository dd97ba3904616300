"""Parses instrument symbols as TqSdk writes them: `SHFE.cu2502` (a contract), `KQ.m@SHFE.cu` (a continuous series)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ghtrader_base.errors import UsageError

_CONTRACT = re.compile(r"^([A-Z]{3,5})\.([A-Za-z]{1,4})(\d{3,4})$")
_CONTINUOUS = re.compile(r"^KQ\.m@([A-Z]{3,5})\.([A-Za-z]{1,4})$")


@dataclass(frozen=True)
class Symbol:
    """A parsed symbol. `delivery` is the digits as printed (`2502`), empty for a continuous series."""

    exchange: str
    product: str
    delivery: str = ""

    @property
    def continuous(self) -> bool:
        """Whether this names the main series and not one contract."""
        return not self.delivery

    @property
    def year(self) -> int:
        """Delivery year, four digits (a three-digit CZCE delivery counts from 2020)."""
        return 2000 + int(self.delivery[:2]) if len(self.delivery) == 4 else 2020 + int(self.delivery[0])

    @property
    def month(self) -> int:
        """Delivery month, 1-12."""
        return int(self.delivery[-2:])

    def __str__(self) -> str:
        name = f"{self.exchange}.{self.product}{self.delivery}"
        return f"KQ.m@{name}" if self.continuous else name


def parse_symbol(text: str) -> Symbol:
    """Parse `SHFE.cu2502` or `KQ.m@SHFE.cu`.

    Raises
    ------
    UsageError
        Neither form, or a delivery month outside 01-12.
    """
    if match := _CONTINUOUS.match(text):
        return Symbol(match[1], match[2])
    if (match := _CONTRACT.match(text)) and 1 <= int(match[3][-2:]) <= 12:
        return Symbol(*match.groups())
    raise UsageError(f"{text!r} is no symbol", "write a contract as SHFE.cu2502 or a main series as KQ.m@SHFE.cu")


def continuous_symbol(exchange: str, product: str) -> str:
    """Name of the main series of a product: `KQ.m@SHFE.cu`."""
    return str(Symbol(exchange, product))
