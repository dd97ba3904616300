"""Makes a small network of each kind, for windows of `T` rows of `F` factors; needs torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ghtrader_models.families.networks.binctabl import BinCTABL
from ghtrader_models.families.networks.deeplob import DeepLOB
from ghtrader_models.families.networks.hybrid import Hybrid
from ghtrader_models.families.networks.mamba import Mamba
from ghtrader_models.families.networks.mlplob import MLPLOB
from ghtrader_models.families.networks.selected_columns import MixedColumns, SelectedColumns
from ghtrader_models.families.networks.ssm import SSM, SSMBody
from ghtrader_models.families.networks.tcn import TCN, TCNBody
from ghtrader_models.families.networks.tlob import TLOB
from ghtrader_models.families.networks.transformer import Transformer, TransformerBody

if TYPE_CHECKING:
    from torch import nn

T, F = 30, 20
TCN_BODY = {"channels": 8, "levels": 3, "kernel": 3, "dropout": 0.1}
SMALL: dict[str, Callable[[], nn.Module]] = {
    "deeplob": lambda: DeepLOB(T, F, 9),
    "tlob": lambda: TLOB(T, F, 9, hidden=16, layers=2),
    "mlplob": lambda: MLPLOB(T, F, 9, hidden=16, layers=2),
    "binctabl": lambda: BinCTABL(T, F, 9),
    "tcn": lambda: TCN(F, 9, channels=8, levels=3, kernel=3),
    "ssm": lambda: SSM(F, 9, width=8, states=16, layers=2),
    "mamba": lambda: Mamba(F, 9, width=8, states=4, layers=1),
    "transformer": lambda: Transformer(T, F, 9, width=16, heads=2, layers=1, hidden=32),
    "hybrid": lambda: Hybrid(F, 9, width=8, body=TCNBody(8, **TCN_BODY)),
    "hybrid_ssm": lambda: Hybrid(F, 9, width=8, body=SSMBody(8, states=16, layers=1, dropout=0.1)),
    "hybrid_transformer": lambda: Hybrid(
        F, 9, width=8, body=TransformerBody(T, 8, heads=2, layers=1, hidden=16, dropout=0.1)
    ),
    "deeplob_mixed": lambda: MixedColumns(DeepLOB(T, 8, 9), F, 8),
    "tcn_selected": lambda: SelectedColumns(TCN(3, 9, channels=8, levels=3, kernel=3), (7, 1, 4)),
}
