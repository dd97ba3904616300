"""Reads LightGBM's text format: boosted trees of three classes with numerical splits, without LightGBM.

What belongs here: decoding. LightGBM compares in double precision and sends a row left where its value is at most the
threshold; rows here are single precision and go left where they are below: each threshold becomes the next
single-precision number above it, which says the same of every single-precision value.
"""

from __future__ import annotations

import numpy as np

from ghtrader_base.errors import IntegrityError
from ghtrader_models.inference.forest import DAMAGED, N_CLASSES, Forest, Tree, build_forest

LIGHTGBM_FILE = "model.txt"
_CATEGORICAL, _DEFAULT_LEFT, _MISSING_BITS = 1, 2, 2
_NO_MISSING, _NAN_MISSING = 0, 2
_ENDS = ("\nend of trees\n", "\nend of parameters\n")
"""What a whole file has behind its trees and at its end."""
_VERSIONS = ("v3", "v4")
_ZERO = np.float32(1e-35)
"""LightGBM takes a value of at most this size for 0."""


def decode_lightgbm(data: bytes) -> Forest:
    """LightGBM's text -> flat arrays for the walker.

    Raises
    ------
    IntegrityError
        Not such a model, cut off, or with indices that point outside.
    """
    try:
        text = data.decode("ascii")
        head, *blocks = text.split("\nTree=")
        facts = _fields(head)
        sizes = facts["tree_sizes"].split()
        n_features, n_classes = int(facts["max_feature_idx"]) + 1, int(facts["num_class"])
        objective, a_round = facts["objective"].split()[0], int(facts["num_tree_per_iteration"])
        whole = all(end in text for end in _ENDS)
        if not head.startswith("tree\n") or facts["version"] not in _VERSIONS or not whole:
            raise ValueError("no LightGBM model, or a part of one")
        trees = [_tree(_fields(block.split("\nend of trees")[0])) for block in blocks]
    except (KeyError, ValueError, OverflowError, IndexError) as exc:
        raise IntegrityError(f"{LIGHTGBM_FILE} does not read: {exc!r}", DAMAGED) from exc
    if (objective, n_classes, a_round) != ("multiclass", N_CLASSES, N_CLASSES):
        raise IntegrityError(
            f"{LIGHTGBM_FILE} holds objective {objective!r} with {n_classes} classes, not multiclass with 3", DAMAGED
        )
    if len(trees) != len(sizes) or len(trees) % N_CLASSES:
        raise IntegrityError(f"{LIGHTGBM_FILE} holds {len(trees)} trees, its head says {len(sizes)}", DAMAGED)
    classes = np.arange(len(trees)) % N_CLASSES
    return build_forest(trees, classes, np.zeros(N_CLASSES), n_features, LIGHTGBM_FILE)


def _fields(block: str) -> dict[str, str]:
    """``name=value`` lines."""
    return dict(line.split("=", 1) for line in block.splitlines() if "=" in line)


def _tree(fields: dict[str, str]) -> Tree:
    """One tree: splits are nodes 0..m-1, leaves follow; a child below zero is a leaf, counted from -1 down."""
    leaves = np.array(fields["leaf_value"].split(), np.float64)
    m = int(fields["num_leaves"]) - 1
    if leaves.size != m + 1 or int(fields["num_cat"]) or int(fields.get("is_linear", "0")):
        raise ValueError("a tree with categorical splits, linear leaves, or leaves it does not have")

    def column(name: str, dtype: type) -> np.ndarray:
        found: np.ndarray = np.array(fields[name].split() if m else [], dtype)
        if found.shape != (m,):
            raise ValueError(f"a tree of {m} splits with {found.size} numbers of {name}")
        return found

    flags, threshold = column("decision_type", np.int64), column("threshold", np.float64)
    missing = flags >> _MISSING_BITS
    if (flags & _CATEGORICAL).any() or not np.isin(missing, (_NO_MISSING, _NAN_MISSING)).all():
        raise ValueError("a tree with categorical splits, or in which zero is missing")
    # where no value was missing in training, LightGBM takes a missing one for 0
    default_left = np.where(missing == _NO_MISSING, threshold >= 0, (flags & _DEFAULT_LEFT) > 0)
    sides = (column(name, np.int64) for name in ("left_child", "right_child"))
    left, right = (np.r_[np.where(side < 0, m - 1 - side, side), np.full(leaves.size, -1)] for side in sides)
    return Tree(
        left=left,
        right=right,
        feature=np.r_[column("split_feature", np.int64), np.zeros(leaves.size, np.int64)],
        threshold=np.r_[_next_above(threshold), leaves.astype(np.float32)],
        default_left=np.r_[default_left, np.zeros(leaves.size, np.bool_)],
    )


def _next_above(threshold: np.ndarray) -> np.ndarray:
    """float32[m]: the smallest single-precision numbers above thresholds, where all that LightGBM calls zero is one."""
    about_zero = np.abs(threshold) <= _ZERO
    threshold = np.where(about_zero, np.where(threshold < 0, np.nextafter(-_ZERO, -1), _ZERO), threshold)
    with np.errstate(over="ignore"):
        nearest = threshold.astype(np.float32)
        above = np.nextafter(nearest, np.float32(np.inf))
    found: np.ndarray = np.where(nearest.astype(np.float64) > threshold, nearest, above)
    return found
