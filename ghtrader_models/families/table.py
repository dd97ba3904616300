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
    windows : bool
        Whether it reads windows of rows by a network, and torch trains it.
    """

    module: str
    cls: str
    what: str
    usual: bool = True
    windows: bool = False


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
        windows=True,
    ),
    "deeplob": FamilyEntry(
        module="ghtrader_models.families.deeplob",
        cls="DeepLOBFamily",
        what="DeepLOB: convolutions over columns and rows, then an LSTM",
        usual=False,
        windows=True,
    ),
    "transformer": FamilyEntry(
        module="ghtrader_models.families.transformer",
        cls="TransformerFamily",
        what="Transformer encoder on windows",
        usual=False,
        windows=True,
    ),
    "tlob": FamilyEntry(
        module="ghtrader_models.families.tlob",
        cls="TLOBFamily",
        what="TLOB: attention over time and over factors",
        usual=False,
        windows=True,
    ),
    "mlplob": FamilyEntry(
        module="ghtrader_models.families.mlplob",
        cls="MLPLOBFamily",
        what="MLPLOB: perceptrons over time and over factors",
        usual=False,
        windows=True,
    ),
    "binctabl": FamilyEntry(
        module="ghtrader_models.families.binctabl",
        cls="BinCTABLFamily",
        what="BiN-CTABL: bilinear layers with attention over time",
        usual=False,
        windows=True,
    ),
    "ssm": FamilyEntry(
        module="ghtrader_models.families.ssm",
        cls="SSMFamily",
        what="state-space model on windows, linear in their length",
        usual=False,
        windows=True,
    ),
    "hybrid": FamilyEntry(
        module="ghtrader_models.families.hybrid",
        cls="HybridFamily",
        what="convolutions before a TCN, Transformer or state space",
        usual=False,
        windows=True,
    ),
}
"""Every family there is, by the name that commands, assets and bundles give it."""


def usual_families() -> tuple[str, ...]:
    """Names of those that a benchmark scores where none is named."""
    return tuple(name for name, entry in FAMILIES.items() if entry.usual)


def window_family_names() -> tuple[str, ...]:
    """Names of those that read windows by a network, hence need torch to train."""
    return tuple(name for name, entry in FAMILIES.items() if entry.windows)


def family_names() -> tuple[str, ...]:
    """Names of all families."""
    return tuple(FAMILIES)
