"""Which columns a network reads: of the book in its order, of factors, or all; and the book's columns as factors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ghtrader_base.errors import UsageError
from ghtrader_market.reference.tick_schema import COLUMN_INDEX
from ghtrader_models.factors.engine import FactorEngine
from ghtrader_models.factors.library.book_factors import book_column_names
from ghtrader_models.factors.library.sets import get_factor_set
from ghtrader_models.families.window_inputs import chosen_columns, reads_the_book

BOOK = book_column_names()


def test_the_book_is_chosen_in_its_order_wherever_its_columns_stand() -> None:
    names = ("spread", *reversed(BOOK), "ofi_1")
    chosen = chosen_columns(names, "book")
    assert tuple(names[place] for place in chosen) == BOOK and len(BOOK) == 20
    assert chosen_columns(names, "factors") == (0, 21)
    assert chosen_columns(names, "both") == tuple(range(22))
    assert reads_the_book(names, "book") and not reads_the_book(names, "both") and reads_the_book(BOOK, "both")
    assert not reads_the_book((), "both")


def test_what_a_data_set_does_not_hold_is_refused_with_the_set_that_does() -> None:
    for names, inputs in ((("spread", "ofi_1"), "book"), (BOOK, "factors"), ((), "book")):
        with pytest.raises(UsageError, match=f"inputs is '{inputs}'") as caught:
            chosen_columns(names, inputs)
        assert "+book" in caught.value.hint


def test_two_sets_are_joined_and_each_factor_stands_once() -> None:
    joined = get_factor_set("lean+book").names
    assert set(joined) == {*get_factor_set("lean").names, *BOOK} and len(set(joined)) == len(joined)
    assert len(get_factor_set("book", levels=1)) == 4
    with pytest.raises(UsageError, match="unknown factor set 'lean\\+bok'|unknown factor set 'bok'"):
        get_factor_set("lean+bok")


def test_the_columns_of_the_book_are_its_prices_and_lots_and_keep_the_path(make_ticks: Callable[..., Any]) -> None:
    times, values = make_ticks(50)
    rows = FactorEngine(get_factor_set("book"), 10.0, 5.0).batch(times, values)
    level = {name: values[COLUMN_INDEX[name]] for name in ("ask_price1", "bid_price1", "ask_price3", "ask_volume3")}
    mid = (level["ask_price1"] + level["bid_price1"]) / 2 / 10.0
    np.testing.assert_allclose(rows[1:, BOOK.index("ask_offset_3")], level["ask_price3"][1:] / 10 - mid[:-1])
    np.testing.assert_allclose(rows[:, BOOK.index("log_ask_volume_3")], np.log(level["ask_volume3"]), rtol=1e-6)
    moves = (rows[:, BOOK.index("ask_offset_1")] + rows[:, BOOK.index("bid_offset_1")])[1:] / 2
    np.testing.assert_allclose(np.cumsum(moves), mid[1:] - mid[0], atol=1e-4)
