"""Registers the model families: an entry here, and commands, benchmark and asset graph have a family.

What belongs here: names, and where each family is. Imports nothing, so that a command can ask it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class FamilyEntry:
    """Where a family is, without importing it.

    Attributes
    ----------
    module, cls : str
        Its file and its class.
    what : str
        What it is, in a few words.
    usual : bool
        Whether a benchmark that names no family scores it: not what takes minutes a fit, or an extra of its own.
    """

    module: str
    cls: str
    what: str
    usual: bool = True


FAMILIES: dict[str, FamilyEntry] = {
    "logistic": FamilyEntry(
        module="ghtrader_models.families.logistic",
        cls="LogisticFamily",
        what="multinomial logistic regression on standardised factors",
    ),
    "xgboost": FamilyEntry(
        module="ghtrader_models.families.xgboost",
        cls="XGBoostFamily",
        what="boosted trees by XGBoost",
    ),
    "lightgbm": FamilyEntry(
        module="ghtrader_models.families.lightgbm",
        cls="LightGBMFamily",
        what="boosted trees by LightGBM, grown leaf by leaf",
    ),
    "tcn": FamilyEntry(
        module="ghtrader_models.families.tcn",
        cls="TCNFamily",
        what="temporal convolutional network on windows of factors",
        usual=False,
    ),
}
"""Every family there is, by the name that commands, assets and bundles give it."""


def usual_families() -> tuple[str, ...]:
    """Names of those that a benchmark scores where none is named."""
    return tuple(name for name, entry in FAMILIES.items() if entry.usual)


def family_names() -> tuple[str, ...]:
    """Names of all families."""
    return tuple(FAMILIES)
