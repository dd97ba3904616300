"""Points the vendor's tests at the service the caller's own variables name, in a home of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from ghtrader_base.settings import Settings, load_settings
from tests.vendor.credentials import WITHHELD


@pytest.fixture
def vendor(request: pytest.FixtureRequest, home: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings with the caller's credentials; skipped where there are none, or where other tests run beside these."""
    withheld = request.config.stash.get(WITHHELD, None)
    if withheld is None:
        pytest.skip("credentials are given to these tests alone: make test-vendor")
    if not (withheld.get("TQSDK_USER") and withheld.get("TQSDK_PASSWORD")):
        pytest.skip("TQSDK_USER and TQSDK_PASSWORD are not set")
    for name, value in withheld.items():
        if name.startswith(("TQSDK_", "TQ_")):
            monkeypatch.setenv(name, value)
    return load_settings(home)
