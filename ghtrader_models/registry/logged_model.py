"""Saves a bundle as an MLflow model that `mlflow.pyfunc.load_model` opens: signature, input example, no pickle.

What belongs here: the folder that MLflow keeps. Where it is logged and registered is `mlflow_tracking`'s business, what
it does once opened `bundle_pyfunc`'s.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ghtrader_base.errors import GhtraderError

if TYPE_CHECKING:
    from mlflow.models import Model, ModelSignature

    from ghtrader_market.stores.lake.lake import Lake
    from ghtrader_models.bundles.bundle import Bundle

EXAMPLE_ROWS = 5
_SCRIPT = Path(__file__).with_name("bundle_pyfunc.py")
_NEEDED = ("ghtrader", "mlflow", "numpy", "numba", "pandas", "onnxruntime")
_OUTPUTS = ("p_down", "p_flat", "p_up")


def example_rows(lake: Lake, bundle: Bundle) -> np.ndarray | None:
    """The last rows of the last day that a bundle learned from, as its model sees them.

    Returns
    -------
    float64[`EXAMPLE_ROWS`, F] or None
        None where that day is not in the lake any more, or was built with other factors.
    """
    if not bundle.content.days:
        return None
    try:
        table = lake.read_day("features", bundle.symbol, bundle.content.days[-1].day, columns=list(bundle.factor_names))
    except (GhtraderError, KeyError, ValueError, OSError):
        return None
    rows = table.slice(max(0, table.num_rows - EXAMPLE_ROWS))
    return np.column_stack([rows.column(name).to_numpy().astype(np.float64) for name in bundle.factor_names])


def save_model(bundle: Bundle, folder: Path, model: Model, example: np.ndarray | None = None) -> None:
    """Write the MLflow model of a bundle.

    Parameters
    ----------
    bundle : Bundle
        Its folder is copied whole, under its own name.
    folder : Path
        Where to; must not exist.
    model : mlflow.models.Model
        Knows which logged model it is.
    example : float64[n, F], optional
        Rows as `example_rows` has them.
    """
    import pandas as pd
    from mlflow import pyfunc

    name = bundle.path.name
    shown = None if example is None else pd.DataFrame(example, columns=list(bundle.factor_names))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*input example was not provided")  # a day that is gone has no rows
        pyfunc.save_model(
            folder,
            mlflow_model=model,
            python_model=str(_SCRIPT),
            artifacts={"bundle": str(bundle.path)},
            signature=signature_of(bundle),
            input_example=shown,
            pip_requirements=[f"{each}=={metadata.version(each)}" for each in _NEEDED],
            metadata={"bundle_id": bundle.bundle_id, "symbol": bundle.symbol, "horizon": bundle.horizon},
        )
    shutil.rmtree(folder / "__pycache__", ignore_errors=True)  # of the script, which MLflow ran
    # MLflow notes where the copied folder was: a place of this machine, which nothing reads.
    flavor: dict[str, Any] = model.flavors["python_function"]
    flavor["artifacts"]["bundle"]["uri"] = f"bundles/{name}"
    model.save(str(folder / "MLmodel"))


def signature_of(bundle: Bundle) -> ModelSignature:
    """A column of doubles a factor in, three probabilities out."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema, TensorSpec

    def doubles(names: Sequence[str]) -> Schema:
        columns: list[ColSpec | TensorSpec] = [ColSpec(DataType.double, name) for name in names]
        return Schema(columns)

    return ModelSignature(inputs=doubles(bundle.factor_names), outputs=doubles(_OUTPUTS))
