"""Keeps which contract was main on days that only a recording of it speaks of, and tells whether the ticks gainsay it.

`data/declared/<variety>.json` has a checksum; files of older versions have none. What follows from a declaration is
`roll_schedule`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from ghtrader_base.errors import IntegrityError, UsageError
from ghtrader_base.files import atomic_write_json, read_checked_json, with_checksum
from ghtrader_market.reference.symbols import parse_symbol
from ghtrader_market.reference.varieties import get_variety, variety_of

if TYPE_CHECKING:
    from ghtrader_market.stores.lake.lake import Lake

_TICKS = "ticks"
_IMPORT_AGAIN = "restore it, or delete it and import the recordings of these days again: ghtrader data import"


def declared_path(data_dir: Path, variety: str) -> Path:
    """Where the contracts that recordings declared are kept."""
    return data_dir / "declared" / f"{variety}.json"


def load_declared(data_dir: Path, variety: str) -> dict[date, str]:
    """Day -> contract, as recordings declared it; empty where none did.

    Raises
    ------
    IntegrityError
        The file is garbled, was edited, or names what is no contract of the variety.
    """
    path, product = declared_path(Path(data_dir), variety), get_variety(variety)
    if not path.exists():
        return {}
    document, _ = read_checked_json(path)
    try:
        declared = {date.fromisoformat(day): str(contract) for day, contract in document.items()}
        others = [c for c in declared.values() if parse_symbol(c).continuous or variety_of(c) != product]
        if others:
            raise ValueError(f"{others[0]} is no contract of {product.key}")
    except (TypeError, ValueError, UsageError) as exc:
        raise IntegrityError(f"{path} declares no contracts: {exc}", _IMPORT_AGAIN) from exc
    return declared


def save_declared(data_dir: Path, variety: str, declared: Mapping[date, str]) -> None:
    """Keep what recordings declared, in one step."""
    document = {str(day): declared[day] for day in sorted(declared)}
    atomic_write_json(declared_path(data_dir, variety), with_checksum(document))


def require_declared(lake: Lake, variety: str, declared: Mapping[date, str]) -> None:
    """Refuse days whose ticks gainsay what was declared; errors as `undeclared` names them.

    Raises
    ------
    IntegrityError
        The ticks of such a day are of other contracts.
    """
    if wrong := undeclared(lake, variety, declared):
        day, why = next(iter(wrong.items()))
        path = declared_path(lake.root, variety)
        raise IntegrityError(f"{path} is wrong about {len(wrong)} days, first {day}: {why}", _IMPORT_AGAIN)


def undeclared(lake: Lake, variety: str, declared: Mapping[date, str]) -> dict[date, str]:
    """Declared days that the stored ticks gainsay, and why, ascending; ticks may have been moved away since."""
    product = get_variety(variety)
    owners = [symbol for symbol in lake.index.keys(_TICKS) if variety_of(symbol) == product] if declared else []
    found = {}
    for day in sorted(declared):
        here = {symbol for symbol in owners if lake.has_day(_TICKS, symbol, day)}
        if here and declared[day] not in here:
            found[day] = f"{declared[day]} is declared, the ticks are of {', '.join(sorted(here))}"
    return found
