"""Names the versions of Python and of the packages whose change may change a trained model."""

from __future__ import annotations

import platform
from functools import cache
from importlib import metadata

_PACKAGES = (
    "numpy", "scipy", "numba", "pyarrow", "scikit-learn", "xgboost", "lightgbm", "torch", "lightning", "onnx",
    "onnxruntime",
)  # fmt: skip


@cache
def _installed() -> tuple[tuple[str, str], ...]:
    found = [("python", platform.python_version())]
    for name in _PACKAGES:
        try:
            found.append((name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            continue
    return tuple(found)


def package_versions() -> dict[str, str]:
    """Package -> version, of those that are installed."""
    return dict(_installed())
