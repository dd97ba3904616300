"""Predicts with a bundle as MLflow's pyfunc; MLflow keeps a copy of this file beside the bundle (models from code).

Only what MLflow runs when it opens the model belongs here: the bundle is checked and asked as everywhere else. The
installed ghtrader does the work, so that there is no pickle and nothing of a training library.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from ghtrader_models.bundles.bundle import load_bundle
from ghtrader_models.inference.predictors import Predictor

COLUMNS = ["p_down", "p_flat", "p_up"]


class BundleModel(PythonModel):
    """A bundle; rows are of one trading day and follow each other, which a model of windows needs."""

    def load_context(self, context: PythonModelContext) -> None:
        """Check and open the bundle; `IntegrityError` where it is damaged."""
        bundle = load_bundle(Path(context.artifacts["bundle"]))
        self._names = list(bundle.factor_names)
        self._predictor = Predictor.from_bundle(bundle)

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Probabilities of DOWN, FLAT and UP, a row each, from a column a factor; NaN is a missing value."""
        self._predictor.reset()
        rows = np.ascontiguousarray(model_input[self._names].to_numpy(dtype=np.float32))
        return pd.DataFrame(self._predictor.predict(rows), columns=COLUMNS, index=model_input.index)


set_model(BundleModel())
