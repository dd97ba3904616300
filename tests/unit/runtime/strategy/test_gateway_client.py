"""A strategy's client of its gateway alone, over real ipc: joining, history, lost ticks, targets sent again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ghtrader_base.errors import RefusedError, UnreachableError
from ghtrader_base.settings import Settings
from ghtrader_market.reference.tick_schema import VALUE_COLUMNS
from ghtrader_runtime.accounts.account import AccountRef
from ghtrader_runtime.accounts.bus_token import join_token
from ghtrader_runtime.bus import messages as msg
from ghtrader_runtime.bus.backoff import Backoff
from ghtrader_runtime.bus.endpoints import Endpoints, endpoints
from ghtrader_runtime.bus.link_state import LinkState
from ghtrader_runtime.bus.message_seal import HelloProof, SealCheck, session_key
from ghtrader_runtime.bus.sockets import GatewayBus, Received
from ghtrader_runtime.runlog.journal import Journal, read_lines
from ghtrader_runtime.strategy import gateway_client
from ghtrader_runtime.strategy.gateway_client import GatewayClient
from tests.support.waiting import PATIENCE_S

SYMBOL, NEXT, DAY = "SHFE.cu2505", "SHFE.cu2506", "2025-04-16"
HEAD = {"session": "gateway-1", "revision": 0, "sent_ns": 77}


def welcome(answers: int, rows: int = 0, **changes: Any) -> msg.Welcome:
    fields = {
        "symbol": SYMBOL, "account": "a", "mode": "paper", "run_id": "r", "run_dir": "/nowhere", "lockstep": False,
        "price_tick": 10.0, "multiplier": 5, "max_position": 3, "position": 0, "rows": rows, "tick_revision": 4,
        "answers": answers,
    }  # fmt: skip
    return msg.Welcome(**HEAD, **(fields | changes))


def chunk(answers: int, first: int, count: int) -> msg.History:
    ids = np.arange(first, first + count)
    values = np.repeat(ids[:, None].astype(float), len(VALUE_COLUMNS), axis=1)
    return msg.pack_history("gateway-1", 0, 1, SYMBOL, DAY, ids, ids * 10, values, True, answers)


def tick(revision: int, symbol: str = SYMBOL) -> msg.Tick:
    return msg.Tick(session="gateway-1", revision=revision, sent_ns=1, symbol=symbol, trading_day=DAY,
                    datetime_ns=revision, id=revision, values=np.zeros(len(VALUE_COLUMNS)).tobytes())  # fmt: skip


def account_state(sent_ns: int, ready: list[str]) -> msg.AccountState:
    fields = {
        "session": "gateway-1", "revision": 1, "account": "a", "mode": "sim", "run_id": "r", "trading_state": "ACTIVE",
        "reasons": [], "killed": False, "link": "LIVE", "trading_day": DAY, "positions": {}, "working": 0,
        "targets": {}, "balance": 1e6, "tick_revision": 1, "ended": "",
    }  # fmt: skip
    return msg.AccountState(**fields, sent_ns=sent_ns, ready=ready)


class Gateway:
    """The other end: a real bus that answers hellos, in a thread, as `answer` says, and keeps what it is sent."""

    def __init__(self, addresses: Endpoints, answer: Callable[[msg.Hello], list[msg.Message]]) -> None:
        self._addresses, self._answer = addresses, answer
        self.heard: list[msg.AnyMessage] = []
        self.received: list[Received] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def _serve(self) -> None:
        bus = GatewayBus(self._addresses)
        while not self._over.is_set():
            bus.wait(0.02)
            while (received := bus.receive()) is not None:
                message = received.message
                self.heard.append(message)
                self.received.append(received)
                for answer in self._answer(message) if isinstance(message, msg.Hello) else []:
                    bus.send(received.identity, answer)
        bus.close()

    def of(self, kind: type[msg.Message]) -> list[Any]:
        return [message for message in self.heard if isinstance(message, kind)]

    @contextmanager
    def serving(self) -> Iterator[Gateway]:
        self._thread.start()
        try:
            yield self
        finally:
            self._over.set()
            self._thread.join()


def turn(client: GatewayClient, over: Callable[[], object]) -> None:
    """Let the client look after its link until `over`."""
    deadline = time.monotonic() + PATIENCE_S
    while not over():
        assert time.monotonic() < deadline
        client.next_message(0.01)


class Told:
    """Whether the client is told to stop."""

    stop = False

    def __call__(self) -> bool:
        return self.stop


@pytest.fixture
def account(tmp_path: Path) -> AccountRef:
    folder = tmp_path / "account"
    folder.mkdir()
    return AccountRef("paper", "a", folder)


@pytest.fixture
def addresses(settings: Settings, account: AccountRef) -> Endpoints:
    return endpoints(settings, account.state_dir)


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def client(addresses: Endpoints, account: AccountRef, told: Told) -> Iterator[GatewayClient]:
    made = GatewayClient(addresses, account, SYMBOL, told)
    yield made
    made.close()


def test_it_joins_with_a_proof_and_takes_no_welcome_that_answers_another_hello(
    client: GatewayClient, account: AccountRef, addresses: Endpoints
) -> None:
    token = join_token(account.state_dir)
    with Gateway(addresses, lambda hello: [welcome(999, rows=5), welcome(hello.revision)]).serving() as gateway:
        found = client.join(PATIENCE_S)
    assert found is not None and found.rows == 0
    hello = gateway.of(msg.Hello)[0]
    assert (hello.symbol, hello.after_id, hello.purpose) == (SYMBOL, -1, "trade")
    assert HelloProof.read(hello.proof).proves(token, client.session)
    assert all(token.encode() not in received.body for received in gateway.received), "the token itself is never sent"
    assert (client.gateway_session, client.welcomed_ns, client.link.state) == ("gateway-1", 77, LinkState.LIVE)
    assert client.is_news(5) and not client.is_news(4), "ticks up to the welcome's are in its history"


def test_what_follows_a_welcome_is_sealed_for_that_connection(
    client: GatewayClient, account: AccountRef, addresses: Endpoints
) -> None:
    token = join_token(account.state_dir)
    nonce = b"g" * 32
    with Gateway(addresses, lambda hello: [welcome(hello.revision, nonce=nonce)]).serving() as gateway:
        assert client.join(PATIENCE_S) is not None
        client.say_ready(SYMBOL, 0, "model")
        client.send_target(SYMBOL, 1, 7, 70, "signal")
        client.say_goodbye("done")
        turn(client, lambda: gateway.of(msg.Goodbye))
    proof = HelloProof.read(gateway.of(msg.Hello)[0].proof)
    check = SealCheck(session_key(token, client.session, proof.nonce, nonce))
    sealed = [received for received in gateway.received if not isinstance(received.message, msg.Hello)]
    assert {type(received.message) for received in sealed} == {msg.Command, msg.Ready, msg.Target, msg.Goodbye}
    assert [check.fault(received.body, received.seal) for received in sealed] == [None] * len(sealed)
    assert [check.fault(received.body, received.seal) for received in sealed] != [None] * len(sealed), "no copies"


@pytest.mark.parametrize("reason", ["the gateway speaks version 3 of the bus, this client another one", "the token"])
def test_a_gateway_that_lets_it_not_in_is_quoted(
    client: GatewayClient, account: AccountRef, addresses: Endpoints, reason: str
) -> None:
    join_token(account.state_dir)

    def answer(hello: msg.Hello) -> list[msg.Message]:
        return [msg.Ack(**HEAD, answers=hello.revision, status="refused", reason=reason)]

    with Gateway(addresses, answer).serving(), pytest.raises(RefusedError, match=reason):
        client.join(PATIENCE_S)


def test_a_refusal_of_a_hello_from_before_there_was_a_token_is_not_final(
    client: GatewayClient, account: AccountRef, addresses: Endpoints
) -> None:
    def answer(hello: msg.Hello) -> list[msg.Message]:
        if HelloProof.read(hello.proof).code:
            return [welcome(hello.revision)]
        join_token(account.state_dir)
        return [msg.Ack(**HEAD, answers=hello.revision, status="refused", reason="the token")]

    with Gateway(addresses, answer).serving():
        assert client.join(PATIENCE_S) is not None


def test_nobody_answers_and_told_to_stop(client: GatewayClient, told: Told) -> None:
    with pytest.raises(UnreachableError, match="account a"):
        client.join(0.0)
    told.stop = True
    assert client.join(PATIENCE_S) is None


def test_history_comes_whole_and_in_stretches(client: GatewayClient, addresses: Endpoints) -> None:
    """Each stretch is asked for from the last row that was taken, and may come in several chunks."""

    def answer(hello: msg.Hello) -> list[msg.Message]:
        first, asked = hello.after_id + 1, hello.revision
        rows = [chunk(asked, first, 3), chunk(999, 50, 1), chunk(asked, first + 3, 2)]
        return [welcome(asked, rows=5, more=first == 0), *rows]

    taken: list[int] = []
    with Gateway(addresses, answer).serving() as gateway:
        for found in client.welcomes(lambda: taken[-1] if taken else -1):
            for day, ids, times, values in client.history(found.rows):
                assert day == DAY and times.tolist() == (ids * 10).tolist() and values[:, 0].tolist() == ids.tolist()
                taken.extend(ids.tolist())
            if not found.more:
                break
    assert taken == list(range(10))
    asked = [hello.after_id for hello in gateway.of(msg.Hello)]
    assert asked[-1] == 4 and set(asked) == {-1, 4}


def test_ticks_that_come_meanwhile_are_pending_and_another_contract_voids_them(
    client: GatewayClient, addresses: Endpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway_client, "Backoff", lambda *_: Backoff(PATIENCE_S, PATIENCE_S))  # one hello is enough

    def answer(hello: msg.Hello) -> list[msg.Message]:
        return [tick(5), welcome(hello.revision, rows=2), tick(6, NEXT), chunk(hello.revision, 0, 2), tick(7, NEXT)]

    with Gateway(addresses, answer).serving():
        found = next(client.welcomes(lambda: -1))
        assert [len(ids) for _, ids, _, _ in client.history(found.rows)] == [2]
        assert [one.revision for one in client.pending] == [5, 6]
        client.send_target(SYMBOL, 1, 1, 1, "signal")
        client.change_contract(NEXT)
        assert len(client.outbox) == 0
        assert [client.next_message(PATIENCE_S) for _ in range(2)] == [tick(6, NEXT), tick(7, NEXT)]


def test_lost_ticks_are_seen_once(client: GatewayClient) -> None:
    client.skip_to(4)
    assert not client.lost_before(5) and not client.lost_before(6)
    assert client.is_news(9) and client.lost_before(9) and not client.lost_before(10)
    client.skip_to(3)
    assert not client.is_news(10) and client.is_news(11)
    client.start_over()
    assert client.is_news(1)


def test_a_target_is_sent_again_under_its_revision_until_it_is_acknowledged(
    client: GatewayClient, addresses: Endpoints
) -> None:
    client.outbox.first_s = client.outbox.longest_s = 0.01
    with Gateway(addresses, lambda hello: [welcome(hello.revision)]).serving() as gateway:
        assert client.join(PATIENCE_S) is not None
        first = client.send_target(SYMBOL, 1, 7, 70, "signal", (0.1, 0.2, 0.7), (1, 2, 3, 4), (0,))
        second = client.send_target(SYMBOL, -1, 8, 80, "signal")
        assert second == first + 1
        turn(client, lambda: client.outbox.repeated >= 3)
        client.acknowledged(msg.Ack(**HEAD, answers=first, status="accepted"))
        assert len(client.outbox) == 1, "the second one took its place, and is not acknowledged"
        client.acknowledged(msg.Ack(**HEAD, answers=second, status="accepted"))
        client.say_goodbye("done")
        turn(client, lambda: gateway.of(msg.Goodbye))
    targets = gateway.of(msg.Target)
    assert [target.revision for target in targets] == [first, *[second] * (1 + client.outbox.repeated)]
    assert targets[0] == msg.Target(
        session=client.session, revision=first, sent_ns=targets[0].sent_ns, symbol=SYMBOL, volume=1, tick_id=7,
        tick_ns=70, reason="signal", probabilities=(0.1, 0.2, 0.7), marks_ns=(1, 2, 3, 4), near=(0,),
    )  # fmt: skip
    assert len(set(targets[1:])) == 1, "a repetition is the same message"


def test_changes_of_the_link_are_journalled_once_there_is_a_journal(
    client: GatewayClient, addresses: Endpoints, tmp_path: Path
) -> None:
    with Gateway(addresses, lambda hello: [welcome(hello.revision)]).serving():
        assert client.join(PATIENCE_S) is not None
    journal = client.journal = Journal(tmp_path / "strategy")
    client.trouble("gap", "ticks were lost on the way")
    client.mended("gap")
    journal.close()
    lines = read_lines(tmp_path / "strategy" / "events.jsonl")
    assert [(one["kind"], one["before"], one["after"]) for one in lines] == [
        ("link", "LIVE", "DEGRADED"), ("link", "DEGRADED", "LIVE"),
    ]  # fmt: skip


def test_a_gateway_that_does_not_count_us_is_seen_a_while_after_we_said_ready(client: GatewayClient) -> None:
    def state(after_s: float, *ready: str) -> msg.AccountState:
        return account_state(sent_ns=time.monotonic_ns() + int(after_s * 1e9), ready=list(ready))

    assert not client.is_forgotten(state(60.0)), "it never said that it is ready"
    client.say_ready(SYMBOL, 0, "model")
    assert not client.is_forgotten(state(0.5)), "the gateway may not have read it yet"
    assert client.is_forgotten(state(60.0)) and client.is_forgotten(state(60.0, "strategy-other"))
    assert not client.is_forgotten(state(60.0, client.session))
    client.say_ready(SYMBOL, 0, "model")
    assert not client.is_forgotten(state(0.5))
