"""A document over HTTP: whole, or an OSError, whatever the server says, and never more of it than asked for."""

from __future__ import annotations

import pytest

from ghtrader.listener_check import ListenerState, check_listeners
from ghtrader_base.errors import UnreachableError
from ghtrader_base.settings import Settings
from ghtrader_base.web_documents import fetch_document
from ghtrader_market.main_series.roll_cross_check import cross_check
from ghtrader_market.reference.roll_schedule import RollSchedule
from ghtrader_market.stores.questdb.client import QuestDbClient
from tests.support.served_text import served_bytes

OK = b"HTTP/1.1 200 OK\r\n"
BROKEN = {
    "cut": OK + b"Content-Length: 5000\r\n\r\n[",
    "cut in a chunk": OK + b"Transfer-Encoding: chunked\r\n\r\n9\r\n[1",
    "cut between chunks": OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\n[1\r\n",
    "no chunk": OK + b"Transfer-Encoding: chunked\r\n\r\nmany\r\n[1",
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "no status": b"HTTP/1.1 what\r\n\r\n",
    "endless header": OK + b"X: " + b"x" * 70_000,
    "nothing": b"",
}


@pytest.mark.parametrize("answer", BROKEN)
def test_a_broken_answer_is_an_os_error(answer: str) -> None:
    with served_bytes(BROKEN[answer]) as url, pytest.raises(OSError):
        fetch_document(url, 5.0, 1000)


def test_a_whole_answer_comes_and_a_longer_one_does_not() -> None:
    with served_bytes(OK + b"Content-Length: 5\r\n\r\n[1,2]") as url:
        assert fetch_document(url, 5.0, 5) == b"[1,2]"
        with pytest.raises(OSError, match="longer than 4 bytes"):
            fetch_document(url, 5.0, 4)
    with served_bytes(OK + b"\r\n", b"[" * 300_000) as url, pytest.raises(OSError, match="longer than 100000"):
        fetch_document(url, 5.0, 100_000)


def test_an_answer_that_drips_ends() -> None:
    with served_bytes(OK + b"\r\n[", b" ") as url, pytest.raises(TimeoutError, match="takes longer"):
        fetch_document(url, 5.0, 1000, whole_s=-1.0)


@pytest.mark.parametrize("answer", ["cut", "no HTTP"])
def test_who_asks_over_http_calls_it_a_server_that_is_not_there(answer: str, settings: Settings) -> None:
    with served_bytes(BROKEN[answer]) as url:
        port = int(url.split(":")[2].partition("/")[0])
        asked = settings.model_copy(
            update={"questdb_host": "127.0.0.1", "questdb_http_port": port, "metrics_port": port,
                    "tq_cont_table_url": url}
        )  # fmt: skip
        client = QuestDbClient(asked)
        with pytest.raises(UnreachableError, match=f"no QuestDB at 127.0.0.1:{port}"):
            client.require()
        assert client.answers_anybody() is (answer == "cut")
        states = {each.name: each.state for each in check_listeners(asked)}
        assert (states["QuestDB, HTTP"] is ListenerState.SILENT) is (answer != "cut")
        assert "no continuous table at" in cross_check(asked, RollSchedule("cu", ())).not_done
