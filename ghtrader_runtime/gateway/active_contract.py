"""Which contract an account may hold for a main series: written once all others are known to be flat, read at a start.

One small file beside the ledger, replaced in one step. What it names and the day does not is closed before anything
opens, so that a process that died in the middle of a roll knows what it left behind.
"""

from __future__ import annotations

from pathlib import Path

from ghtrader_base.errors import IntegrityError, UnwritableError
from ghtrader_base.files import atomic_write_json, content_hash, read_json
from ghtrader_market.reference.symbols import parse_symbol


def _path(state_dir: Path, requested: str) -> Path:
    symbol = parse_symbol(requested)
    return state_dir / f"bound-{symbol.exchange}.{symbol.product}.json"


def write_bound(state_dir: Path, requested: str, contract: str) -> None:
    """Durable when it returns; UnwritableError where the disk refuses."""
    body = {"requested": requested, "contract": contract}
    try:
        atomic_write_json(_path(state_dir, requested), {**body, "hash": content_hash(body)})
    except OSError as exc:
        raise UnwritableError(f"the bound contract cannot be written: {exc.strerror or exc}", "make room") from exc


def read_bound(state_dir: Path, requested: str) -> str:
    """The contract, or an empty string where none was ever bound.

    Raises
    ------
    IntegrityError
        The file is damaged: what may be held is not known.
    """
    path = _path(state_dir, requested)
    if not path.exists():
        return ""
    document = read_json(path)
    body = {name: document.get(name) for name in ("requested", "contract")} if isinstance(document, dict) else {}
    if not body or document.get("hash") != content_hash(body) or body["requested"] != requested:
        raise IntegrityError(
            f"{path} is damaged: which contract of {requested} may be held is not known",
            "close at the broker what is held of other contracts than the day's, then move the file away",
        )
    return str(body["contract"])
