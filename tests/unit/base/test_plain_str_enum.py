"""Members of our enums are the plain words they stand for: as keys, as JSON, on the wire, printed."""

from __future__ import annotations

import json
from enum import StrEnum

import msgspec
import pytest

from ghtrader_base.errors import UsageError
from ghtrader_base.plain_str_enum import read_word
from ghtrader_base.trading_enums import OnKill, Peg, RunMode, SimKind, Succession, TimeInForce, UnknownOrders
from ghtrader_market.accounting.fill import Offset, Side
from ghtrader_runtime.core.actions import AnswerStatus
from ghtrader_runtime.core.block_reasons import BlockReason
from ghtrader_runtime.core.orders import OrderKind, OrderOutcome, OrderStatus, PriceType, TradingState

ENUMS = (
    RunMode, SimKind, TimeInForce, Peg, OnKill, UnknownOrders, Succession, Side, Offset, AnswerStatus, BlockReason,
    OrderKind, OrderOutcome, OrderStatus, PriceType, TradingState,
)  # fmt: skip
STORED = {
    Side: "BUY SELL", Offset: "OPEN CLOSE CLOSETODAY", TimeInForce: "FAK FOK GFD", Peg: "cross join",
    PriceType: "LIMIT ANY BEST FIVELEVEL", RunMode: "paper sim live", SimKind: "tqkq tqsim", OnKill: "hold flatten",
    UnknownOrders: "cancel adopt", Succession: "day flat keep", OrderKind: "target direct earlier stranger",
    OrderOutcome: "filled cancelled rejected unsent", AnswerStatus: "accepted refused duplicate unknown",
}  # fmt: skip
"""What ledgers, journals, settings and older clients hold."""


@pytest.mark.parametrize("words", ENUMS)
def test_a_member_is_its_word(words: type[StrEnum]) -> None:
    for member in words:
        word = member.value
        assert type(word) is str and member == word and hash(member) == hash(word)
        assert {member: 1}[word] == {word: 1}[member] == 1
        assert f"{member}" == str(member) == word and json.dumps(member) == json.dumps(word)
        assert msgspec.msgpack.encode(member) == msgspec.msgpack.encode(word)
        assert msgspec.json.decode(msgspec.json.encode({word: member}), type=dict[words, words]) == {member: member}
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'"perhaps"', type=words)


@pytest.mark.parametrize(("words", "stored"), STORED.items())
def test_what_is_stored_keeps_its_words(words: type[StrEnum], stored: str) -> None:
    assert [member.value for member in words] == stored.split()


def test_a_word_is_read_or_refused_with_those_there_are() -> None:
    assert read_word(Peg, "join", "--peg") is Peg.JOIN and read_word(Peg, Peg.CROSS, "--peg") is Peg.CROSS
    for bad in ("", "JOIN", "joins", "\0"):
        with pytest.raises(UsageError, match="unknown --peg") as refused:
            read_word(Peg, bad, "--peg")
        assert refused.value.hint == "cross, join"
