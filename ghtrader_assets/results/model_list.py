"""Lists bundles and champions of a home: the rows behind `models list` and `models show`. Read-only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ghtrader_base.errors import GhtraderError, UsageError
from ghtrader_models.bundles.bundle import list_bundles, load_bundle
from ghtrader_models.bundles.champions import list_champions, read_history


def bundle_rows(models_dir: Path) -> list[dict[str, Any]]:
    """One row a bundle, newest first; a damaged one says so instead of its content."""
    champions = {item.bundle_id: item for item in list_champions(models_dir)}
    rows: list[dict[str, Any]] = []
    for path in list_bundles(models_dir):
        try:
            bundle = load_bundle(path)
        except GhtraderError as exc:
            rows.append({"id": path.name, "family": "damaged", "trained": "", "detail": exc.message})
            continue
        days = bundle.content["days"]
        rows.append(
            {
                "id": bundle.bundle_id,
                "family": bundle.kind,
                "symbol": bundle.symbol,
                "horizon": bundle.horizon,
                "days": len(days),
                "factors": len(bundle.factor_names),
                "trained": bundle.provenance["run"].get("created_at", ""),
                "champion": "yes" if bundle.bundle_id in champions else "",
            }
        )
    return sorted(rows, key=lambda row: (row["trained"], row["id"]), reverse=True)


def describe_bundle(models_dir: Path, prefix: str) -> dict[str, Any]:
    """One bundle whole: inputs, labels, policy, provenance, promotions.

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
    return {
        "id": bundle.bundle_id,
        "path": str(bundle.path),
        "family": bundle.kind,
        "symbol": bundle.symbol,
        "horizon": bundle.horizon,
        "factors": list(bundle.factor_names),
        "labels": bundle.label_spec,
        "policy": bundle.policy.to_dict(),
        "provenance": bundle.provenance,
        "promotions": [item.to_dict() for item in history if item.bundle_id == bundle.bundle_id],
    }
