"""Seals: only the same key, the same message and a number that was not there before have no fault."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from ghtrader_runtime.bus.message_seal import (
    NONCE_BYTES,
    PROTOCOL_VERSION,
    SEAL_BYTES,
    ClientCredentials,
    HelloProof,
    SealCheck,
    Sealer,
    SealFault,
    command_key,
    fresh_nonce,
    session_key,
)

KEY = b"k" * 32


def sealer(key: bytes = KEY) -> Sealer:
    made = Sealer()
    made.use(key)
    return made


def test_a_seal_counts_once_and_only_in_order() -> None:
    one, check = sealer(), SealCheck(KEY)
    first, second, third = (one.seal(b"body") for _ in range(3))
    assert len(first) == SEAL_BYTES and len({first, second, third}) == 3
    assert check.fault(b"body", first) is None
    assert check.fault(b"body", first) is SealFault.REPLAYED
    assert check.fault(b"body", third) is None, "what was lost on the way holds nothing up"
    assert check.fault(b"body", second) is SealFault.REPLAYED
    assert Sealer().seal(b"body") is None


@limits(max_examples=200, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 2**31))
def test_a_bit_that_turned_in_message_seal_or_key_is_forged(body: bytes, seed: int) -> None:
    whole = bytearray(body + sealer().seal(body) + KEY)
    bit = random.Random(seed).randrange(8 * len(whole))
    whole[bit // 8] ^= 1 << bit % 8
    damaged, seal, key = whole[: len(body)], whole[len(body) : len(body) + SEAL_BYTES], whole[len(body) + SEAL_BYTES :]
    assert SealCheck(bytes(key)).fault(bytes(damaged), bytes(seal)) is SealFault.FORGED
    assert SealCheck(KEY).fault(body, bytes(random.Random(seed).randbytes(SEAL_BYTES))) is SealFault.FORGED


def test_a_key_that_is_taken_again_sees_no_number_twice() -> None:
    one, check = sealer(), SealCheck(KEY)
    assert check.fault(b"x", one.seal(b"x")) is None
    one.use(None)
    assert not one.has_key
    one.use(KEY)
    assert check.fault(b"x", one.seal(b"x")) is None


def test_every_part_makes_another_key_and_no_two_parts_run_together() -> None:
    parts = [("t", "s", b"n", b"g"), ("u", "s", b"n", b"g"), ("t", "sn", b"", b"g"), ("t", "s", b"ng", b""),
             ("t", "s", b"n", b"h")]  # fmt: skip
    keys = {session_key(*one) for one in parts}
    keys |= {command_key("t", b"n"), bytes.fromhex(HelloProof.of("t", "s", b"n").code)}
    assert len(keys) == len(parts) + 2
    assert len(fresh_nonce()) == NONCE_BYTES and fresh_nonce() != fresh_nonce()


NONCE = b"n" * NONCE_BYTES


@pytest.mark.parametrize("token", ["", "other", "\ud800", "t" * 48 + "x"])
def test_a_proof_is_of_the_token_the_session_and_the_nonce(token: str) -> None:
    right = "t" * 48
    proof = HelloProof.of(right, "s", NONCE)
    assert proof.proves(right, "s") and not proof.proves(right, "r") and not proof.proves(token, "s")
    assert not HelloProof.of(token, "s", NONCE).proves(right, "s")
    assert not HelloProof(b"m" * NONCE_BYTES, proof.code).proves(right, "s")
    assert not HelloProof(NONCE, "\ud800").proves(right, "s") and not HelloProof(NONCE, right).proves(right, "s")
    assert not HelloProof(NONCE, "").proves("", "s"), "an empty token proves nothing"


@given(st.text(max_size=200))
def test_a_proof_is_read_back_and_what_another_version_shows_is_none(text: str) -> None:
    proof = HelloProof.of("t" * 48, "s", NONCE)
    assert HelloProof.read(proof.text()) == proof and len(proof.text()) <= 200
    assert HelloProof.read(f"{PROTOCOL_VERSION + 1}{proof.text()[1:]}") is None
    assert HelloProof.read(proof.text()[:40]) is None and HelloProof.read("t" * 48) is None
    found = HelloProof.read(text)
    assert found is None or len(found.nonce) == NONCE_BYTES


def test_a_client_seals_once_it_is_welcomed_and_shows_its_token_nowhere() -> None:
    token = "secret" * 8
    client = ClientCredentials("strategy-1-abcdef")
    assert HelloProof.read(client.proof("")) == HelloProof(client.nonce, "") and not client.sealer.has_key
    client.welcomed(b"g")
    assert not client.sealer.has_key, "who has no token has no key"
    assert HelloProof.read(client.proof(token)).proves(token, "strategy-1-abcdef")
    client.welcomed(b"g")
    check = SealCheck(session_key(token, "strategy-1-abcdef", client.nonce, b"g"))
    assert check.fault(b"m", client.sealer.seal(b"m")) is None
    assert token not in repr(client) + repr(client.sealer) + repr(check)
