"""Finds out which contract each row of a recording belongs to: from its columns, the user, or the file's name.

Codes come as the exchange prints them (``cu2502``), with the exchange before or behind (``SHFE.cu2502``,
``cu2502.SHFE``, ``CU2502.SHF``, ``SHFE.cu.2502``), in upper or lower case. A code without an exchange belongs to the
one variety of the table that has its product.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ghtrader_base.errors import BadRecordingError, UsageError
from ghtrader_market.reference.symbols import NOTATIONS, Exchange, parse_symbol
from ghtrader_market.reference.varieties import all_varieties, get_variety, variety_of

_CODE = re.compile(r"([A-Za-z]{1,4})\.?(\d{3,4})")
_IN_NAME = re.compile(r"(?<![A-Za-z])(?:([A-Z]{3,5})\.)?([A-Za-z]{1,4})(\d{3,4})(?!\d)")
_SUFFIXES = {"SHF": "SHFE", "CZC": "CZCE", "ZCE": "CZCE", "CFX": "CFFEX", "CFE": "CFFEX", "GFE": "GFEX"}
"""Vendors' short names of exchanges."""


def contract_name(code: str, exchange: str = "") -> str:
    """``SHFE.cu2502`` from what a file calls the contract; the code as it is where it cannot be told.

    Parameters
    ----------
    code : str
        With or without its exchange.
    exchange : str
        From a column of its own; may be empty.
    """
    code, exchange = code.strip(), exchange.strip().upper()
    exchange = _SUFFIXES.get(exchange, exchange)
    before, _, behind = code.partition(".")
    body, _, after = code.rpartition(".")
    if before.isalpha() and _CODE.fullmatch(behind):
        code, exchange = behind, exchange or _SUFFIXES.get(before.upper(), before.upper())
    elif after.isalpha() and _CODE.fullmatch(body):
        code, exchange = body, exchange or _SUFFIXES.get(after.upper(), after.upper())
    if (match := _CODE.fullmatch(code)) is None:
        return f"{exchange}.{code}" if exchange else code
    found = _owner(match[1], exchange)
    if found is None:
        return f"{exchange}.{match[1]}{match[2]}" if exchange else code
    return f"{found[0]}.{found[1]}{_delivery(found[0], match[2])}"


def _delivery(exchange: str, digits: str) -> str:
    """A delivery as the exchange writes it: vendors give CZCE's contracts the second digit of the year too."""
    return digits[-NOTATIONS[Exchange(exchange)].digits :]


def _owner(product: str, exchange: str) -> tuple[str, str] | None:
    """Exchange and product as the table writes them; None where no variety, or several, have that product."""
    here = [each for each in all_varieties() if exchange in ("", each.exchange)]
    exact = [each for each in here if each.product == product]
    near = exact or [each for each in here if each.product.lower() == product.lower()]
    return (near[0].exchange, near[0].product) if len(near) == 1 else None


def contract_in_name(name: str, variety: str | None) -> str | None:
    """The contract a file's name says, where it names one of the table's varieties; None where it names none."""
    for exchange, product, delivery in _IN_NAME.findall(Path(name).name):
        if not exchange and variety is not None and get_variety(variety).product == product:
            exchange = get_variety(variety).exchange
        if exchange:
            return f"{exchange}.{product}{delivery}"
        if (found := _owner(product, "")) is not None:
            return f"{found[0]}.{found[1]}{_delivery(found[0], delivery)}"
    return None


def require_known(name: str, contract: str, hint: str) -> str:
    """`contract`, where it is a contract of a variety in the table; `BadRecordingError` naming the file where not."""
    try:
        if not parse_symbol(contract).continuous:
            variety_of(contract)
            return contract
    except UsageError as exc:
        raise BadRecordingError(f"{name}: {exc.message}", exc.hint or hint) from exc
    raise BadRecordingError(f"{name} holds the continuous series {contract}", "import recordings of contracts")


def one_contract(name: str, variety: str | None, said: str | None, asked: str | None) -> str:
    """The contract of a file that holds one: as its columns say, as asked for, or by its name.

    Raises
    ------
    BadRecordingError
        They contradict each other, or nothing says it.
    """
    if said is not None and asked is not None and said != asked:
        raise BadRecordingError(f"{name} holds {said}, not {asked}", f"import it with --symbol {said}")
    one = said or asked or contract_in_name(name, variety)
    if one is None:
        raise BadRecordingError(
            f"{name} does not say which contract it is", "add --symbol, for example --symbol SHFE.cu2502"
        )
    return require_known(name, one, "check --symbol")


def rows_by_contract(
    name: str, codes: np.ndarray, exchanges: np.ndarray | None, variety: str | None, asked: str | None
) -> Iterator[tuple[str, np.ndarray]]:
    """Contracts of a file that names them row by row, each with its rows int64[m]; only those that are asked for.

    Parameters
    ----------
    name : str
        The file.
    codes, exchanges : object[n] of str
    variety, asked : str, optional
        Take only this variety, only this contract.

    Raises
    ------
    BadRecordingError
        A contract is not in the variety table, or none is what is asked for.
    """
    keys = codes.astype(str)
    if exchanges is not None:
        keys = np.char.add(np.char.add(keys, "|"), exchanges.astype(str))
    unique, inverse = np.unique(keys, return_inverse=True)
    named: dict[str, list[int]] = {}
    for number, key in enumerate(unique.tolist()):
        code, _, exchange = key.partition("|")
        named.setdefault(contract_name(code, exchange), []).append(number)
    if asked is not None and asked not in named:
        raise BadRecordingError(
            f"{name} holds {', '.join(sorted(named))}, not {asked}", "correct or leave out --symbol"
        )
    wanted = [asked] if asked is not None else sorted(named)
    if variety is not None and any(_is_of(contract, variety) for contract in wanted):
        wanted = [contract for contract in wanted if _is_of(contract, variety)]
    for contract in wanted:
        require_known(name, contract, "correct the column")
    for contract in wanted:
        yield contract, np.flatnonzero(np.isin(inverse, named[contract]))


def _is_of(contract: str, variety: str) -> bool:
    try:
        return variety_of(contract).key == variety
    except UsageError:
        return False
