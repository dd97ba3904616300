"""The vendor's tests get the caller's credentials where they run alone, and nothing runs beside a broker's account."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.vendor.credentials import WITHHELD, give_to_vendor_tests

ROOT = Path(__file__).parents[3]
MINE = {"TQSDK_USER": "somebody", "TQSDK_PASSWORD": "secret"}
ALONE = (["tests/vendor"], [str(ROOT / "tests/vendor/test_vendor_service.py") + "::test_a_short_download"])
NOT_ALONE = ([], ["tests"], ["."], ["tests/vendor", "tests/unit"], ["tests/vendors"])


def config_of(arguments: list[str]) -> SimpleNamespace:
    """What of pytest's configuration is looked at."""
    return SimpleNamespace(args=arguments, stash=pytest.Stash(), invocation_params=SimpleNamespace(dir=ROOT))


@pytest.mark.parametrize("arguments", [*ALONE, *NOT_ALONE], ids=" ".join)
def test_credentials_go_to_the_vendors_tests_alone(arguments: list[str]) -> None:
    config = config_of(arguments)
    give_to_vendor_tests(config, MINE)
    assert config.stash.get(WITHHELD, None) == (MINE if arguments in ALONE else None)


def test_beside_a_brokers_account_they_refuse_to_run() -> None:
    broker = {**MINE, "TQ_BROKER_ID": "8000"}
    for arguments in ALONE:
        with pytest.raises(pytest.exit.Exception, match="TQ_BROKER_ID is set") as refusal:
            give_to_vendor_tests(config_of(arguments), broker)
        assert refusal.value.returncode == 3
    give_to_vendor_tests(config_of(["tests/unit"]), broker)  # they never see it


def test_no_other_test_sees_them() -> None:
    assert not [name for name in os.environ if name.startswith(("TQSDK_", "TQ_"))]
