"""The contract list of a variety as a file of the home: `data/catalog/<variety>.json`.

Written by the `contracts` asset, read by those that ask a source for bars or ticks.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from pathlib import Path

from ghtrader_base.errors import FailedError
from ghtrader_base.files import atomic_write_json, read_json
from ghtrader_market.sources.base import ContractInfo


def catalog_path(data: Path, variety: str) -> Path:
    """Where the list of a variety is kept."""
    return data / "catalog" / f"{variety}.json"


def load_contracts(data: Path, variety: str) -> list[ContractInfo]:
    """Contracts known so far, by expiry; empty where none were asked for yet."""
    path = catalog_path(data, variety)
    if not path.exists():
        return []
    return [
        ContractInfo(
            row["symbol"],
            date.fromisoformat(row["expires"]),
            date.fromisoformat(row["listed"]) if row["listed"] else None,
            row["expired"],
        )
        for row in read_json(path)["contracts"]
    ]


def merge_contracts(data: Path, variety: str, found: Iterable[ContractInfo]) -> list[ContractInfo]:
    """Add what a source just said to the list, newer words replacing older ones, and store it."""
    merged = {item.symbol: item for item in [*load_contracts(data, variety), *found]}
    contracts = sorted(merged.values(), key=lambda item: (item.expires, item.symbol))
    rows = [
        {
            "symbol": item.symbol,
            "expires": item.expires.isoformat(),
            "listed": item.listed.isoformat() if item.listed else None,
            "expired": item.expired,
        }
        for item in contracts
    ]
    atomic_write_json(catalog_path(data, variety), {"variety": variety, "contracts": rows})
    return contracts


def contracts_living(data: Path, variety: str, start: date, end: date) -> list[str]:
    """Symbols of the list that can have traded in [start, end].

    Raises
    ------
    FailedError
        The list has none.
    """
    symbols = [item.symbol for item in load_contracts(data, variety) if item.lives_in(start, end)]
    if not symbols:
        raise FailedError(
            f"no contract of {variety} is known between {start} and {end}",
            f"materialize contracts first, or: ghtrader download-contract-range --var {variety} ...",
        )
    return symbols
