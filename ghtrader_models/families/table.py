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
    """

    module: str
    cls: str
    what: str


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
    ),
}
"""Every family there is, by the name that commands, assets and bundles give it."""


def family_names() -> tuple[str, ...]:
    """Names of all families."""
    return tuple(FAMILIES)
