"""Lists bundles and champions of a home: what `models list` and `models show` tell. Read-only."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ghtrader_base.errors import GhtraderError, UsageError
from ghtrader_market.reference.tick_origin import words_of
from ghtrader_models.bundles.bundle import Bundle, list_bundles, load_bundle
from ghtrader_models.bundles.champions import Champion, list_champions, read_history


@dataclass(frozen=True, kw_only=True)
class BundleRow:
    """One bundle in a list.

    Attributes
    ----------
    id : str
        Bundle id; of a damaged one the name of its folder.
    family : str
        Model family, or "damaged": then there is nothing else but `detail`.
    symbol : str or None
        Series it was trained on.
    horizon : int or None
        Ticks ahead.
    days, factors : int or None
        How many it was trained on.
    trained : str
        ISO 8601, or empty.
    champion : str or None
        "yes", or empty.
    origin : str or None
        Where the ticks come from that it learned from.
    detail : str or None
        What is wrong with a damaged one.
    """

    id: str
    family: str
    symbol: str | None = None
    horizon: int | None = None
    days: int | None = None
    factors: int | None = None
    trained: str = ""
    champion: str | None = None
    origin: str | None = None
    detail: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form, without what is not known."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def bundle_rows(models_dir: Path) -> list[BundleRow]:
    """One row a bundle, newest first; a damaged one says so instead of its content."""
    champions = {item.bundle_id for item in list_champions(models_dir)}
    rows = [_row(path, champions) for path in list_bundles(models_dir)]
    return sorted(rows, key=lambda row: (row.trained, row.id), reverse=True)


def _row(path: Path, champions: set[str]) -> BundleRow:
    try:
        bundle = load_bundle(path)
    except GhtraderError as exc:
        return BundleRow(id=path.name, family="damaged", detail=exc.message)
    return BundleRow(
        id=bundle.bundle_id,
        family=bundle.kind,
        symbol=bundle.symbol,
        horizon=bundle.horizon,
        days=len(bundle.content.days),
        factors=len(bundle.factor_names),
        trained=bundle.provenance.run.created_at,
        champion="yes" if bundle.bundle_id in champions else "",
        origin=words_of(bundle.content.origins),
    )


@dataclass(frozen=True)
class BundleDescription:
    """One bundle whole, and the promotions it had, oldest first."""

    bundle: Bundle
    promotions: tuple[Champion, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form: inputs, labels, policy, provenance, promotions."""
        bundle = self.bundle
        return {
            "id": bundle.bundle_id,
            "path": str(bundle.path),
            "family": bundle.kind,
            "symbol": bundle.symbol,
            "horizon": bundle.horizon,
            "origin": words_of(bundle.content.origins),
            "factors": list(bundle.factor_names),
            "labels": bundle.label_spec.to_dict(),
            "policy": bundle.policy.to_dict(),
            "provenance": bundle.provenance.to_dict(),
            "promotions": [item.to_dict() for item in self.promotions],
        }


def describe_bundle(models_dir: Path, prefix: str) -> BundleDescription:
    """One bundle whole.

    Raises
    ------
    UsageError
        No bundle, or several, start with `prefix`.
    """
    found = [path for path in list_bundles(models_dir) if prefix and path.name.startswith(prefix)]
    if len(found) != 1:
        problem = "several bundles start" if found else "no bundle starts"
        raise UsageError(f"{problem} with {prefix!r}", "`ghtrader models list` shows them")
    bundle = load_bundle(found[0])
    history = read_history(models_dir, bundle.symbol, bundle.horizon)
    return BundleDescription(bundle, tuple(item for item in history if item.bundle_id == bundle.bundle_id))
