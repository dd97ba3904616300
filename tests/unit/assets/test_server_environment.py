"""What a server's environment holds: no credential, nor an address with a password in it."""

from __future__ import annotations

import pytest

from ghtrader_assets.instance.web_servers import server_environment
from ghtrader_base.settings import Settings

WITH_PASSWORD, PLAIN = "postgresql://somebody:canary-4711@db.example/mlflow", "http://127.0.0.1:5001"


@pytest.mark.parametrize("kind", ["mlflow", "dagster-webserver", "dagster-daemon"])
def test_an_address_with_a_password_is_handed_over(
    kind: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TQSDK_PASSWORD", "canary-0815")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", WITH_PASSWORD)
    environment, handed = server_environment(settings, kind)
    assert not [value for value in environment.values() if "canary" in value]
    others = {} if kind == "mlflow" else {"TQSDK_PASSWORD": "canary-0815"}
    assert handed == {"MLFLOW_TRACKING_URI": WITH_PASSWORD, **others}
    monkeypatch.setenv("MLFLOW_TRACKING_URI", PLAIN)
    environment, handed = server_environment(settings, kind)
    assert environment["MLFLOW_TRACKING_URI"] == PLAIN and handed == others
