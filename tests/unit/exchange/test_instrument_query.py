"""What TqSdk asks about instruments, in GraphQL."""

from __future__ import annotations

import contextlib
from datetime import date

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ghtrader_exchange.protocol.client_messages import parse_market_data_message
from ghtrader_exchange.protocol.instrument_query import (
    ContractInfo,
    InstrumentFilter,
    answer_text,
    describe_contract,
    describe_main,
    failure_text,
    parse_filters,
    select,
)
from ghtrader_exchange.world.contract_terms import ContractTerms
from ghtrader_market.reference.varieties import FeeRates, get_variety


def test_the_query_tqsdk_writes_for_quotes():
    query = """query {
        multi_symbol_info(instrument_id: ["SHFE.cu2502", "KQ.m@SHFE.cu"]) {
        ... on basic {
        instrument_id
        class
        } } }"""
    assert parse_filters(query) == InstrumentFilter(instrument_id=frozenset({"SHFE.cu2502", "KQ.m@SHFE.cu"}))


def test_filters_of_query_quotes():
    query = """query{multi_symbol_info(class: [FUTURE], exchange_id: ["SHFE"], product_id:["cu"], expired: false,
        timestamp: 1736168400000000000){...on basic{instrument_id}}}"""
    assert parse_filters(query) == InstrumentFilter(
        class_=frozenset({"FUTURE"}),
        exchange_id=frozenset({"SHFE"}),
        product_id=frozenset({"cu"}),
        expired=False,
        timestamp=1736168400000000000,
    )


def test_variables_are_put_in_and_missing_ones_left_out():
    query = """query($instrument_id:[String], $class:[Class]){
        multi_symbol_info(instrument_id:$instrument_id class:$class){ ... on basic { instrument_id } } }"""
    found = parse_filters(query, {"instrument_id": ["SHFE.cu1901"]})
    assert found == InstrumentFilter(instrument_id=frozenset({"SHFE.cu1901"}))


def test_no_arguments_asks_for_everything():
    assert parse_filters("query{multi_symbol_info{...on basic{instrument_id}}}") == InstrumentFilter()


@pytest.mark.parametrize(
    "query",
    [
        "",
        "query{symbol_info{a}}",
        "{multi_symbol_info(colour: [RED]){a}}",
        "{multi_symbol_info(class: [FUTURE",
        "{multi_symbol_info(class ;)",
        "{multi_symbol_info(class}",
        "{multi_symbol_info(class: [[FUTURE]])}",
        '{multi_symbol_info(timestamp: "now")}',
        "{multi_symbol_info(timestamp: 1e999)}",
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


def contract(symbol: str, expires: date) -> ContractInfo:
    """A contract as it is described on a day of April 2025."""
    terms = ContractTerms(
        symbol=symbol,
        multiplier=5,
        price_tick=10.0,
        fees=FeeRates(open_ratio=5e-5, close_ratio=5e-5, close_today_ratio=1e-4),
        margin_ratio=0.1,
        needs_close_today=True,
        pre_settlement=74000.0,
        upper_limit=79920.0,
        lower_limit=68080.0,
    )
    return describe_contract(get_variety("cu"), symbol, expires, terms, date(2025, 4, 2), 74010.0, 1200)


OVER, LISTED = contract("SHFE.cu2503", date(2025, 3, 17)), contract("SHFE.cu2505", date(2025, 5, 15))
MAIN = describe_main(get_variety("cu"), LISTED)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, [OVER, LISTED, MAIN]),
        ({"instrument_id": {"SHFE.cu2505", "SHFE.zz9999"}}, [LISTED]),
        ({"class_": {"FUTURE"}, "expired": False}, [LISTED]),
        ({"class_": {"CONT"}}, [MAIN]),
        ({"expired": False}, [LISTED, MAIN]),
        ({"exchange_id": {"KQ"}}, [MAIN]),
        ({"product_id": {"cu"}, "expired": True}, [OVER]),
        ({"has_night": False}, []),
        ({"has_night": True, "timestamp": 1}, [OVER, LISTED, MAIN]),
    ],
)
def test_filters_choose(filters, expected):
    chosen = {name: frozenset(value) if isinstance(value, set) else value for name, value in filters.items()}
    assert select([OVER, LISTED, MAIN], InstrumentFilter(**chosen)) == expected


def test_the_answer_repeats_the_question_and_has_every_field_in_its_order():
    text = '{"aid": "ins_query", "query_id": "q", "query": "{multi_symbol_info}", "more": [1, 2.50]}'
    asked = parse_market_data_message(text)
    head = '{"symbols":{"q":{"query_id":"q","query":"{multi_symbol_info}","more":[1,2.5],'
    assert failure_text(asked, "no \"such\"") == head + '"error":"no \\"such\\""}}}'
    node = (
        '{"instrument_id":"SHFE.cu2505","exchange_id":"SHFE","instrument_name":"copper2505","english_name":"cu2505",'
        '"class":"FUTURE","product_id":"cu","product_short_name":"copper","price_tick":10.0,"price_decs":0,'
        '"trading_day":1743523200000000000,'
        '"trading_time":{"day":[["09:00:00","10:15:00"],["10:30:00","11:30:00"],["13:30:00","15:00:00"]],'
        '"night":[["21:00:00","25:00:00"]]},"volume_multiple":5,"quote_multiple":5,"delivery_year":2025,'
        '"delivery_month":5,"expired":false,"expire_datetime":1747292400000000000,"settlement_price":74000.0,'
        '"pre_close":74010.0,"pre_open_interest":1200,"upper_limit":79920.0,"lower_limit":68080.0,'
        '"max_limit_order_volume":500,"max_market_order_volume":0,"min_limit_order_volume":1,'
        '"min_market_order_volume":0,"open_limit":0,"open_max_limit_order_volume":500,'
        '"open_max_market_order_volume":0,"open_min_limit_order_volume":1,"open_min_market_order_volume":0,'
        '"margin":37000.0,"commission":18.5,"mmsa":true,"categories":[{"id":"METALS","name":"金属"}],'
        '"position_limit":null}'
    )
    assert answer_text(asked, [LISTED]) == head + '"result":{"multi_symbol_info":[' + node + "]}}}}"
    assert answer_text(asked, [MAIN]).endswith(
        '"price_tick":10.0,"price_decs":0,"trading_time":{"day":[["09:00:00","10:15:00"],["10:30:00","11:30:00"],'
        '["13:30:00","15:00:00"]],"night":[["21:00:00","25:00:00"]]},"trading_day":1743523200000000000,'
        '"volume_multiple":5,"quote_multiple":5,'
        '"underlying":{"count":1,"edges":[{"underlying_multiple":1,"node":' + node + "}]}}]}}}}"
    )
