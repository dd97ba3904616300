"""A fill comes back from the journal as it was written."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from ghtrader_market.accounting.fill import Fill, Offset, Side
from ghtrader_runtime.runlog.fill_lines import fill_fields, read_fill

SOLD = Fill(
    symbol="SHFE.cu2502", side=Side.SELL, offset=Offset.CLOSETODAY, volume=2, price=74_000.0, fee=3.5,
    market_ns=1_737_550_803_228_881_740, trade_id="t1", order_id="gt1-1-1",
)  # fmt: skip


def test_the_journals_words() -> None:
    assert fill_fields(SOLD) == {
        "trade": "t1", "order": "gt1-1-1", "symbol": "SHFE.cu2502", "side": -1, "offset": "CLOSETODAY", "volume": 2,
        "price": 74_000.0, "market_ns": 1_737_550_803_228_881_740, "commission": 3.5,
    }  # fmt: skip


@pytest.mark.parametrize("fill", [SOLD, replace(SOLD, side=Side.BUY, offset=Offset.OPEN), replace(SOLD, offset=None)])
def test_there_and_back(fill: Fill) -> None:
    line = json.loads(json.dumps({"at": 1, "kind": "fill", **fill_fields(fill), "net": 3}))
    back = read_fill(line)
    assert back == fill and type(back.side) is Side and type(back.offset) in (Offset, type(None))


def test_a_commission_that_is_not_known_is_read_as_nan() -> None:
    assert math.isnan(read_fill(fill_fields(SOLD) | {"commission": None}).fee)
    with pytest.raises(KeyError):
        read_fill({"at": 1, "kind": "start"})
