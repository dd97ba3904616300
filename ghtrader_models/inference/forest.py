"""Lays boosted trees out as flat arrays that a compiled walker runs over without checking an index.

What belongs here: the arrays, and the checks that make them safe to walk. What a file of trees means is said in
`xgboost_ubj` and `lightgbm_text`; the walker itself is in `predictors`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ghtrader_base.errors import IntegrityError

N_CLASSES = 3
DAMAGED = "the model file is damaged or not ours; train the model again"


@dataclass(frozen=True, kw_only=True)
class Tree:
    """One tree as its file has it: node 0 is the root.

    Attributes
    ----------
    left, right : int64[m]
        Children, -1 both at a leaf.
    feature : int64[m]
        Column that a node asks for.
    threshold : float32[m]
        A row goes left where its value is below; at a leaf what it adds.
    default_left : bool[m]
        Where a missing value goes.
    """

    left: np.ndarray
    right: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    default_left: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Forest:
    """Trees side by side, each breadth first from its root, so that a right child stands behind the left one.

    Attributes
    ----------
    n_features : int
        Length of a row.
    roots, depths, classes : int32[T]
        Root, depth and class of each tree.
    base : float32[3]
        What each class starts from.
    feature : int32[m]
        Column that a node asks for; 0 at a leaf.
    threshold : float32[m]
        A row goes left where its value is below; at a leaf what it adds.
    left : int32[m]
        Left child, -1 at a leaf.
    default_left : bool[m]
        Where a missing value goes.
    """

    n_features: int
    roots: np.ndarray
    depths: np.ndarray
    classes: np.ndarray
    base: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    default_left: np.ndarray


def build_forest(
    trees: Sequence[Tree], classes: np.ndarray, base: np.ndarray, n_features: int, file: str
) -> Forest:
    """Check every index and lay the trees out anew.

    Parameters
    ----------
    trees : sequence of Tree
    classes : int[T]
        0, 1 or 2 a tree.
    base : float[3]
    n_features : int
    file : str
        What a complaint names.

    Raises
    ------
    IntegrityError
        A tree is empty or uneven, reaches a node twice, points outside itself, or holds no numbers.
    """
    if len(trees) != classes.size or not np.isin(classes, range(N_CLASSES)).all() or n_features < 1:
        raise IntegrityError(f"{file} has {len(trees)} trees for {classes.size} classes", DAMAGED)
    feature, threshold = [np.empty(0, np.int32)], [np.empty(0, np.float32)]
    left, default_left = [np.empty(0, np.int32)], [np.empty(0, np.bool_)]
    roots, depths = np.zeros(len(trees), np.int32), np.zeros(len(trees), np.int32)
    offset = 0
    for index, tree in enumerate(trees):
        order, depths[index] = _breadth_first(tree, n_features, file)
        leaf = tree.left[order] < 0
        place = np.zeros(tree.left.size, np.int64)
        place[order] = np.arange(order.size) + offset
        roots[index] = offset
        feature.append(np.where(leaf, 0, tree.feature[order]).astype(np.int32))
        threshold.append(tree.threshold[order].astype(np.float32))
        left.append(np.where(leaf, -1, place[tree.left[order]]).astype(np.int32))
        default_left.append(tree.default_left[order].astype(np.bool_))
        offset += order.size
    return Forest(
        n_features=n_features,
        roots=roots,
        depths=depths,
        classes=classes.astype(np.int32),
        base=base.astype(np.float32),
        feature=np.concatenate(feature),
        threshold=np.concatenate(threshold),
        left=np.concatenate(left),
        default_left=np.concatenate(default_left),
    )


def _breadth_first(tree: Tree, n_features: int, file: str) -> tuple[np.ndarray, int]:
    """int64[m]: reachable nodes from the root on; and how deep the tree is."""
    n = tree.left.size
    parts = (tree.right, tree.feature, tree.threshold, tree.default_left)
    if n == 0 or any(part.shape != (n,) for part in parts):
        raise IntegrityError(f"{file}: a tree is empty or uneven", DAMAGED)
    order, level = [0], {0: 0}
    for node in order:
        a, b = int(tree.left[node]), int(tree.right[node])
        if a == -1 and b == -1:
            continue
        if not (0 <= a < n and 0 <= b < n) or len(order) + 2 > n or not 0 <= tree.feature[node] < n_features:
            raise IntegrityError(f"{file}: a tree points outside itself", DAMAGED)
        order += [a, b]
        level[a] = level[b] = level[node] + 1
    kept = np.array(order)
    leaf = tree.left[kept] < 0
    numbers = np.isfinite(tree.threshold[kept][leaf]).all() and not np.isnan(tree.threshold[kept]).any()
    if len(set(order)) != len(order) or not numbers:
        raise IntegrityError(f"{file}: a tree reaches a node twice or holds no numbers", DAMAGED)
    return kept, max(level.values())
