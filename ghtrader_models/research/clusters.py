"""Groups factors that say the same thing, by rank correlation.

What belongs here: from a correlation matrix to groups and an order to draw them in.
"""

from __future__ import annotations

import numpy as np

SAME = 0.7
"""Mean |correlation| from which two groups are one."""


def cluster_factors(correlation: np.ndarray, same: float = SAME) -> tuple[np.ndarray, np.ndarray]:
    """Average-linkage groups on 1 - |correlation|.

    Parameters
    ----------
    correlation : float64[F, F]
        NaN counts as no correlation.
    same : float
        Groups are joined while their mean |correlation| is at least this.

    Returns
    -------
    int64[F]
        Group of each factor, from 0, numbered by their first factor.
    int64[F]
        Factors in the tree's order: neighbours are alike.
    """
    from scipy.cluster.hierarchy import fcluster, leaves_list, linkage
    from scipy.spatial.distance import squareform

    width = correlation.shape[0]
    if width < 2:
        return np.zeros(width, np.int64), np.arange(width)
    strength = np.abs(np.nan_to_num(correlation))
    distance = np.clip(1.0 - (strength + strength.T) / 2.0, 0.0, 1.0)
    np.fill_diagonal(distance, 0.0)
    tree = linkage(squareform(distance, checks=False), method="average")
    found = fcluster(tree, 1.0 - same, criterion="distance")
    _, first, inverse = np.unique(found, return_index=True, return_inverse=True)
    rank = np.empty(first.size, np.int64)
    rank[np.argsort(first, kind="stable")] = np.arange(first.size)
    return rank[inverse], leaves_list(tree).astype(np.int64)
