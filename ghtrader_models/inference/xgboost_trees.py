"""Reads boosted trees from XGBoost's UBJSON (`multi:softprob`, three classes, numerical splits), without XGBoost.

What belongs here: what the keys of the document mean. The format itself is read in `xgboost_ubj`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ghtrader_base.errors import IntegrityError
from ghtrader_base.files import parse_json
from ghtrader_models.inference.forest import DAMAGED, N_CLASSES, Forest, Tree, build_forest
from ghtrader_models.inference.xgboost_ubj import read_ubj

XGBOOST_FILE = "model.ubj"


def decode_xgboost(data: bytes) -> Forest:
    """XGBoost UBJSON -> flat arrays for the walker.

    Raises
    ------
    IntegrityError
        Not such a model, or indices that point outside.
    """
    document = read_ubj(data)
    try:
        learner = document["learner"]
        params = learner["learner_model_param"]
        objective = learner["objective"]["name"]
        model = learner["gradient_booster"]["model"]
        n_features = int(params["num_feature"])
        n_classes = int(params["num_class"])
        base = np.array(parse_json(str(params["base_score"])), np.float32).reshape(-1)
        trees = [_tree(tree) for tree in model["trees"]]
        classes = np.asarray(model["tree_info"], np.int32)
    except (KeyError, TypeError, ValueError) as exc:
        raise IntegrityError(f"{XGBOOST_FILE} is not a boosted model: {exc!r}", DAMAGED) from exc
    if objective != "multi:softprob" or n_classes != N_CLASSES or base.size not in (1, N_CLASSES):
        raise IntegrityError(
            f"{XGBOOST_FILE} holds objective {objective!r} with {n_classes} classes, not multi:softprob with 3", DAMAGED
        )
    if base.size == 1:  # versions before 3.1 keep one number, which softmax does not see
        base = np.repeat(base, N_CLASSES)
    return build_forest(trees, classes, base, n_features, XGBOOST_FILE)


def _tree(tree: dict[str, Any]) -> Tree:
    if np.asarray(tree.get("split_type", []), np.int64).any():
        raise ValueError("a tree with categorical splits")
    return Tree(
        left=np.asarray(tree["left_children"], np.int64),
        right=np.asarray(tree["right_children"], np.int64),
        feature=np.asarray(tree["split_indices"], np.int64),
        threshold=np.asarray(tree["split_conditions"], np.float32),
        default_left=np.asarray(tree["default_left"], np.bool_),
    )
