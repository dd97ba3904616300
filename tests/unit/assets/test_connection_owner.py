"""Whose a connection on 127.0.0.1 is, asked of real sockets."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from ghtrader_assets.instance.connection_owner import is_ours, owner_of

NOBODY = 65_534


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::ffff:127.0.0.1")])
def test_our_own_connection_is_ours_until_it_is_closed(server: socket.socket, family: int, host: str) -> None:
    with socket.socket(family) as client:
        client.connect((host, server.getsockname()[1]))
        taken, peer = server.accept()
        with taken:
            assert owner_of(peer, taken.getsockname()) == os.geteuid() and is_ours(peer, taken.getsockname())
            client.close()
            assert owner_of(peer, taken.getsockname()) is None, "it would read as root's"
            assert not is_ours(peer, taken.getsockname())


def test_what_is_no_connection_is_nobodys(server: socket.socket) -> None:
    assert not is_ours(("127.0.0.1", 1), server.getsockname()) and not is_ours(None, server.getsockname())
    assert not is_ours(("testclient", 1), server.getsockname())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
def test_another_users_connection_is_not_ours(server: socket.socket) -> None:
    os.seteuid(NOBODY)
    try:
        client = socket.socket()
    finally:
        os.seteuid(0)
    with client:
        client.connect(server.getsockname())
        taken, peer = server.accept()
        with taken:
            assert owner_of(peer, taken.getsockname()) == NOBODY and not is_ours(peer, taken.getsockname())
