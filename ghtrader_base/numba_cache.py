"""Chooses where numba keeps compiled code, before numba is imported: `from ghtrader_base.numba_cache import njit`.

Nothing imports numba itself. The cache lies under the home, in ``numba/<version>``, so that no source folder needs to
be writable; the version is a hash of every source file that holds compiled code, of numba and of Python, so that an
upgrade starts a folder of its own and a process that still runs the old code keeps the old one. ``NUMBA_CACHE_DIR`` in
the environment wins. Child processes inherit what was decided.
"""

from __future__ import annotations

import hashlib
import os
import sys
from importlib.metadata import version
from pathlib import Path

from ghtrader_base import settings
from ghtrader_base.errors import ConfigError

__all__ = ["cache_folder", "carray", "code_version", "intrinsic", "njit", "types"]

_OURS = "GHTRADER_NUMBA_CACHE"
"""Beside NUMBA_CACHE_DIR: the folder that we, not the user, put there."""
_MARKS = (b"ghtrader_base.numba_cache import", b"# compiled elsewhere:")
"""Source files with compiled code, and plain ones that another file compiles functions of."""


def code_version() -> str:
    """Sixteen hex digits that change with anything that compiled code depends on."""
    root = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256(f"{sys.version_info[:3]} {version('numba')} {version('llvmlite')}".encode())
    for package in sorted(root.glob("ghtrader_*")):
        for path in sorted(package.rglob("*.py")):
            source = path.read_bytes()
            if any(mark in source for mark in _MARKS):
                digest.update(f"{path.relative_to(root)} {len(source)}".encode() + source)
    return digest.hexdigest()[:16]


def cache_folder() -> Path:
    """The folder of compiled code that is in force for this process and the ones it starts."""
    given, ours = os.environ.get("NUMBA_CACHE_DIR", ""), os.environ.get(_OURS, "")
    if given and given != ours:
        return Path(given)
    if given:  # a parent's choice, perhaps with other code
        return Path(given).parent / code_version()
    home = settings.latest_home
    if home is None:
        try:
            home = settings.load_settings().home
        except ConfigError:  # said by whoever needs the settings
            home = Path(os.environ.get("GHTRADER_HOME") or "var").absolute()
    return home / "numba" / code_version()


def _settle() -> None:
    ours = not os.environ.get("NUMBA_CACHE_DIR") or os.environ["NUMBA_CACHE_DIR"] == os.environ.get(_OURS)
    folder = str(cache_folder())
    if ours:
        os.environ[_OURS] = folder
    os.environ["NUMBA_CACHE_DIR"] = folder
    # Never beside the sources; where the folder cannot be written, in the user's own cache.
    os.environ.setdefault("NUMBA_CACHE_LOCATOR_CLASSES", "UserProvidedCacheLocator,UserWideCacheLocator")
    # A vector library's logarithm is not the scalar one's to the last bit; blocks and single ticks must agree.
    os.environ.setdefault("NUMBA_DISABLE_INTEL_SVML", "1")
    if "numba" in sys.modules:
        sys.modules["numba"].config.reload_config()


_settle()

from numba import carray, njit, types  # type: ignore[attr-defined]  # noqa: E402
from numba.extending import intrinsic  # noqa: E402
