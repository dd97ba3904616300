"""What TqSdk asks about instruments, in GraphQL."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ghtrader_exchange.protocol.instrument_query import parse_filters, select


def test_the_query_tqsdk_writes_for_quotes():
    query = """query {
        multi_symbol_info(instrument_id: ["SHFE.cu2502", "KQ.m@SHFE.cu"]) {
        ... on basic {
        instrument_id
        class
        } } }"""
    assert parse_filters(query) == {"instrument_id": ["SHFE.cu2502", "KQ.m@SHFE.cu"]}


def test_filters_of_query_quotes():
    query = """query{multi_symbol_info(class: [FUTURE], exchange_id: ["SHFE"], product_id:["cu"], expired: false,
        timestamp: 1736168400000000000){...on basic{instrument_id}}}"""
    assert parse_filters(query) == {
        "class": ["FUTURE"],
        "exchange_id": ["SHFE"],
        "product_id": ["cu"],
        "expired": False,
        "timestamp": 1736168400000000000,
    }


def test_variables_are_put_in_and_missing_ones_left_out():
    query = """query($instrument_id:[String], $class:[Class]){
        multi_symbol_info(instrument_id:$instrument_id class:$class){ ... on basic { instrument_id } } }"""
    assert parse_filters(query, {"instrument_id": ["SHFE.cu1901"]}) == {"instrument_id": ["SHFE.cu1901"]}


def test_no_arguments_asks_for_everything():
    assert parse_filters("query{multi_symbol_info{...on basic{instrument_id}}}") == {}


@pytest.mark.parametrize(
    "query",
    [
        "",
        "query{symbol_info{a}}",
        "{multi_symbol_info(colour: [RED]){a}}",
        "{multi_symbol_info(class: [FUTURE",
        "{multi_symbol_info(class ;)",
        "{multi_symbol_info(class}",
    ],
)
def test_what_cannot_be_answered_is_refused(query):
    with pytest.raises(ValueError):
        parse_filters(query)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(alphabet='multi_symbol_info(){}[]:,$"\\ 0a-', max_size=60))
def test_any_text_is_an_answer_or_a_value_error(text):
    with contextlib.suppress(ValueError):
        parse_filters("{multi_symbol_info(" + text)


INSTRUMENTS = [
    {
        "instrument_id": "SHFE.cu2502",
        "class": "FUTURE",
        "exchange_id": "SHFE",
        "product_id": "cu",
        "expired": True,
        "trading_time": {"night": [1]},
    },
    {
        "instrument_id": "SHFE.cu2503",
        "class": "FUTURE",
        "exchange_id": "SHFE",
        "product_id": "cu",
        "expired": False,
        "trading_time": {"night": [1]},
    },
    {"instrument_id": "KQ.m@SHFE.cu", "class": "CONT", "exchange_id": "KQ", "trading_time": {"night": []}},
]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, [0, 1, 2]),
        ({"instrument_id": ["SHFE.cu2503", "SHFE.zz9999"]}, [1]),
        ({"class": ["FUTURE"], "expired": False}, [1]),
        ({"expired": False}, [1, 2]),
        ({"exchange_id": ["KQ"]}, [2]),
        ({"product_id": ["cu"], "expired": True}, [0]),
        ({"has_night": False}, [2]),
    ],
)
def test_filters_choose(filters, expected):
    assert select(INSTRUMENTS, filters) == [INSTRUMENTS[i] for i in expected]
