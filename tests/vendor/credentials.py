"""Hands the credentials of the environment to the tests of the vendor's real service, and to no others.

`tests/conftest.py` takes every `TQ_`, `TQSDK_` and `GHTRADER_` variable out of the environment; only where nothing but
`tests/vendor` was asked for do these tests get them back.
"""

from __future__ import annotations

from pathlib import Path

import pytest

WITHHELD = pytest.StashKey[dict[str, str]]()
_HERE = Path(__file__).resolve().parent


def give_to_vendor_tests(config: pytest.Config, withheld: dict[str, str]) -> None:
    """Keep `withheld` for the vendor's tests where they alone are run.

    With `TQ_BROKER_ID` set the whole run ends here: these tests send an order.
    """
    asked = [Path(str(config.invocation_params.dir), str(one).partition("::")[0]).resolve() for one in config.args]
    if not asked or not all(one == _HERE or _HERE in one.parents for one in asked):
        return
    if withheld.get("TQ_BROKER_ID"):
        pytest.exit("TQ_BROKER_ID is set: tests that send orders do not run where a real account is named", 3)
    config.stash[WITHHELD] = withheld
