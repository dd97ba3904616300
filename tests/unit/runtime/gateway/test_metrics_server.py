"""Metrics are shown to who has the token of a 0600 file and comes by a name of this machine, and to nobody else."""

from __future__ import annotations

import contextlib
import http.client
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.core import GaugeMetricFamily

from ghtrader_base.errors import PortInUseError
from ghtrader_base.settings import Settings, load_settings
from ghtrader_runtime.gateway.metrics_server import MetricsServer, make_token
from tests.support.waiting import until

ROOT = Path(__file__).parents[4]
CONFIG = ROOT / "infra" / "prometheus" / "prometheus.yaml"


class Position:
    """One metric that nobody else should see."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield GaugeMetricFamily("ghtrader_position_lots", "net", value=42)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(tmp_path / "home")


@pytest.fixture
def server(settings: Settings) -> Iterator[MetricsServer]:
    made = MetricsServer(Position(), make_token(settings))
    yield made
    made.close()


def ask(
    server: MetricsServer,
    token: str | None,
    host: str = "",
    method: str = "GET",
    path: str = "/metrics",
    scheme: str = "Bearer",
) -> tuple[int, str]:
    """Status and body of one request."""
    headers = {"Host": host or f"127.0.0.1:{server.port}"}
    if token is not None:
        headers["Authorization"] = f"{scheme} {token}"
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_the_token_is_made_once_for_this_user_alone(settings: Settings) -> None:
    path = make_token(settings)
    made = path.read_text()
    assert path == settings.metrics_token and len(made.strip()) >= 43
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert make_token(settings).read_text() == made
    path.write_text("")  # a first gateway was killed
    assert make_token(settings).read_text() not in ("", made)


def test_who_shows_the_token_sees_and_nobody_else(settings: Settings, server: MetricsServer) -> None:
    right = settings.metrics_token.read_text().strip()
    assert "ghtrader_position_lots 42" in ask(server, right)[1]
    assert ask(server, right, scheme="bearer")[0] == 200
    for wrong in (None, "", right[:-1], right + "x", right.swapcase(), "é", "x" * 60_000):
        status, said = ask(server, wrong)
        assert status in (401, 431) and "42" not in said, wrong
    assert ask(server, right, scheme="Basic")[0] == 401


FOREIGN = [
    "evil.example", "evil.example:9464", "127.0.0.1.evil.example", "127.0.0.1:1@evil.example", "0.0.0.0", "127.0.0.1:x",
    "user@127.0.0.1", " ", "localhost.",
]  # fmt: skip


@pytest.mark.parametrize("host", FOREIGN)
def test_a_foreign_host_is_refused_token_or_not(settings: Settings, server: MetricsServer, host: str) -> None:
    assert ask(server, settings.metrics_token.read_text().strip(), host=host)[0] == 403


def test_names_of_this_machine_are_hosts(settings: Settings, server: MetricsServer) -> None:
    right = settings.metrics_token.read_text().strip()
    for host in ("localhost", "LOCALHOST:9464", "127.0.0.1", "127.0.0.1:1"):  # through an SSH tunnel, say
        assert ask(server, right, host=host)[0] == 200


def test_nothing_but_get_of_metrics(settings: Settings, server: MetricsServer) -> None:
    right = settings.metrics_token.read_text().strip()
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
        assert ask(server, right, method=method)[0] == 405
    for path in ("/", "/favicon.ico", "/metrics/", "/metrics/../x", "/other"):
        assert ask(server, right, path=path)[0] == 404


def test_a_new_token_counts_at_once_and_none_shows_nothing(settings: Settings, server: MetricsServer) -> None:
    old = settings.metrics_token.read_text().strip()
    settings.metrics_token.unlink()
    assert ask(server, old)[0] == 401 and ask(server, "")[0] == 401
    new = make_token(settings).read_text().strip()
    assert ask(server, old)[0] == 401 and ask(server, new)[0] == 200
    settings.metrics_token.write_text("short")
    assert ask(server, "short")[0] == 401


def test_it_listens_on_loopback_alone_and_names_a_port_in_use(settings: Settings, server: MetricsServer) -> None:
    assert server._server.socket.getsockname() == ("127.0.0.1", server.port)
    with pytest.raises(PortInUseError, match=str(server.port)) as caught:
        MetricsServer(Position(), make_token(settings), server.port)
    assert "GHTRADER_METRICS_PORT" in caught.value.hint


def test_idle_connections_do_not_fill_the_gateway(settings: Settings, server: MetricsServer) -> None:
    right = settings.metrics_token.read_text().strip()
    before = threading.active_count()
    idle = [socket.create_connection(("127.0.0.1", server.port), timeout=60) for _ in range(20)]
    assert idle[-1].recv(1) == b""  # found no room, or had said nothing for too long
    assert threading.active_count() <= before + 8
    for one in idle:
        one.close()

    def answered() -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            return ask(server, right)[0] == 200
        return False

    until(answered, "an answer after the others have gone")


def test_the_scrape_configuration_names_the_token_of_the_usual_home() -> None:
    (job,) = yaml.safe_load(CONFIG.read_text())["scrape_configs"]
    named = (CONFIG.parent / job["authorization"]["credentials_file"]).resolve()
    usual: dict[str, Any] = {"GHTRADER_HOME": ROOT / "var"}
    assert named == Settings(**usual).metrics_token and job["authorization"]["type"] == "Bearer"
    assert "bearer_token" not in job and "credentials" not in job["authorization"]
    assert all(target.startswith("127.0.0.1:") for one in job["static_configs"] for target in one["targets"])
    page = (ROOT / "docs" / "concepts" / "runtime.md").read_text()
    shown = yaml.safe_load(page.partition("```yaml\n")[2].partition("```")[0])
    assert shown["scrape_configs"][0]["authorization"].keys() == job["authorization"].keys()
