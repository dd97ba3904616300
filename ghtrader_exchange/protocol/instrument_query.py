"""Answers instrument queries over DIFF: what `ins_query` asks in GraphQL, and what a contract looks like in the answer.

Only the one root field TqSdk sends, `multi_symbol_info`, with its filters; whole objects are returned whatever the
selection names, as TqSdk takes what it knows.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Literal

import msgspec

from ghtrader_exchange.protocol.client_messages import InstrumentQuery, Scalar, Value
from ghtrader_exchange.protocol.encoding import dumps
from ghtrader_exchange.world.contract_terms import MAX_ORDER_VOLUME, ContractTerms
from ghtrader_market.reference.trading_calendar import midnight_ns
from ghtrader_market.reference.varieties import NS_PER_MINUTE, Variety

_TOKEN = re.compile(
    r"""\s*(?:#[^\n]*\n)?\s*,*\s*("""
    r""""(?:[^"\\]|\\.)*"|"""  # text
    r"""\$?[A-Za-z_]\w*|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|[\[\](){}:!@=]|\.\.\.)"""
)
Hours = list[list[str]]
"""Sessions as [opening, closing], each `HH:MM:SS`; beyond midnight they go on to 25:00:00."""


class InstrumentFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Arguments of `multi_symbol_info`; None lets everything pass. `timestamp` is UTC epoch ns and chooses nothing."""

    instrument_id: frozenset[Scalar] | None = None
    class_: frozenset[Scalar] | None = msgspec.field(default=None, name="class")
    exchange_id: frozenset[Scalar] | None = None
    product_id: frozenset[Scalar] | None = None
    expired: bool | None = None
    has_night: bool | None = None
    timestamp: int | None = None


FILTERS = frozenset(InstrumentFilter.__struct_encode_fields__)


class TradingTime(msgspec.Struct, frozen=True):
    """Trading hours of a day."""

    day: Hours
    night: Hours


class Category(msgspec.Struct, frozen=True):
    """A sector of the market."""

    id: str
    name: str


class ContractInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A futures contract as DIFF describes it; prices, margin and commission in CNY, times in UTC epoch ns."""

    instrument_id: str
    exchange_id: str
    instrument_name: str
    english_name: str
    class_: Literal["FUTURE"] = msgspec.field(default="FUTURE", name="class")
    product_id: str
    product_short_name: str
    price_tick: float
    price_decs: int
    trading_day: int
    trading_time: TradingTime
    volume_multiple: int
    quote_multiple: int
    delivery_year: int
    delivery_month: int
    expired: bool
    expire_datetime: int
    settlement_price: float
    pre_close: float
    pre_open_interest: int
    upper_limit: float
    lower_limit: float
    max_limit_order_volume: int = MAX_ORDER_VOLUME
    max_market_order_volume: int = 0
    min_limit_order_volume: int = 1
    min_market_order_volume: int = 0
    open_limit: int = 0
    open_max_limit_order_volume: int = MAX_ORDER_VOLUME
    open_max_market_order_volume: int = 0
    open_min_limit_order_volume: int = 1
    open_min_market_order_volume: int = 0
    margin: float
    commission: float
    mmsa: bool = True
    categories: tuple[Category, ...] = (Category("METALS", "金属"),)
    position_limit: int | None = None


class UnderlyingEdge(msgspec.Struct, frozen=True):
    """One contract that a series follows."""

    underlying_multiple: int
    node: ContractInfo


class Underlying(msgspec.Struct, frozen=True):
    """The contracts that a series follows."""

    count: int
    edges: tuple[UnderlyingEdge, ...]


class MainSeriesInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A main series as DIFF describes it; its figures are those of the contract it follows."""

    instrument_id: str
    instrument_name: str
    class_: Literal["CONT"] = msgspec.field(default="CONT", name="class")
    exchange_id: str = "KQ"
    price_tick: float
    price_decs: int
    trading_time: TradingTime
    trading_day: int
    volume_multiple: int
    quote_multiple: int
    underlying: Underlying


InstrumentInfo = ContractInfo | MainSeriesInfo


def parse_filters(query: str, variables: Mapping[str, Value] | None = None) -> InstrumentFilter:
    """Arguments of `multi_symbol_info` in a GraphQL query.

    Parameters
    ----------
    query : str
        GraphQL.
    variables : mapping of str to value, optional
        Put in where the query names one; an argument whose variable was not given lets everything pass.

    Raises
    ------
    ValueError
        No `multi_symbol_info` in the query, text that is not GraphQL, or an argument unknown to this exchange.
    """
    tokens = _tokens(query)
    try:
        at = tokens.index("multi_symbol_info") + 1
    except ValueError:
        raise ValueError("only multi_symbol_info can be asked here") from None
    found: dict[str, Value] = {}
    if at < len(tokens) and tokens[at] == "(":
        found = _arguments(tokens, at + 1, variables or {})
    timestamp = found.get("timestamp")
    if timestamp is not None and (isinstance(timestamp, str | list) or not math.isfinite(timestamp)):
        raise ValueError("timestamp is a number of nanoseconds")
    return InstrumentFilter(
        instrument_id=_choice(found.get("instrument_id")),
        class_=_choice(found.get("class")),
        exchange_id=_choice(found.get("exchange_id")),
        product_id=_choice(found.get("product_id")),
        expired=_flag(found.get("expired")),
        has_night=_flag(found.get("has_night")),
        timestamp=None if timestamp is None else int(timestamp),
    )


def _arguments(tokens: list[str], at: int, variables: Mapping[str, Value]) -> dict[str, Value]:
    """Argument name to value, from behind the opening bracket on; those without a value are left out."""
    found: dict[str, Value] = {}
    while True:
        if at >= len(tokens):
            raise ValueError("the arguments of multi_symbol_info do not end")
        if tokens[at] == ")":
            return found
        name = tokens[at]
        if name not in FILTERS:
            raise ValueError(f"multi_symbol_info has no argument {name} here")
        if tokens[at + 1 : at + 2] != [":"]:
            raise ValueError(f"no value for argument {name}")
        value, at = _value(tokens, at + 2, variables)
        if value is not None:
            found[name] = value


def _choice(value: Value) -> frozenset[Scalar] | None:
    if value is None:
        return None
    return frozenset(value) if isinstance(value, list) else frozenset({value})


def _flag(value: Value) -> bool | None:
    return None if value is None else bool(value)


def select(instruments: Iterable[InstrumentInfo], filters: InstrumentFilter) -> list[InstrumentInfo]:
    """Those of `instruments` that pass every filter."""
    return [instrument for instrument in instruments if _passes(instrument, filters)]


def _passes(instrument: InstrumentInfo, filters: InstrumentFilter) -> bool:
    contract = instrument if isinstance(instrument, ContractInfo) else None
    named = (
        (filters.instrument_id, instrument.instrument_id),
        (filters.class_, instrument.class_),
        (filters.exchange_id, instrument.exchange_id),
        (filters.product_id, contract.product_id if contract else None),
    )
    expired = contract.expired if contract else False
    return (
        all(wanted is None or value in wanted for wanted, value in named)
        and filters.expired in (None, expired)
        and filters.has_night in (None, bool(instrument.trading_time.night))
    )


def no_answer_text(query_id: str) -> str:
    """The item that ends a query."""
    return dumps({"symbols": {query_id: None}})


def answer_text(asked: InstrumentQuery, found: Iterable[InstrumentInfo]) -> str:
    """The answer to a query: the question and the instruments found."""
    return _answer(asked, f'"result":{dumps({"multi_symbol_info": [_written(one) for one in found]})}')


def failure_text(asked: InstrumentQuery, message: str) -> str:
    """The answer to a query that cannot be answered: the question and why."""
    return _answer(asked, f'"error":{dumps(message)}')


def _answer(asked: InstrumentQuery, more: str) -> str:
    return f'{{"symbols":{{{dumps(asked.query_id)}:{asked.echo[:-1]},{more}}}}}}}'


def _written(told: object) -> object:
    """Structs as objects under their names on the wire, whatever they hold."""
    if isinstance(told, msgspec.Struct):
        values = msgspec.structs.astuple(told)
        return {name: _written(value) for name, value in zip(told.__struct_encode_fields__, values, strict=True)}
    return [_written(value) for value in told] if isinstance(told, tuple) else told


def describe_contract(
    variety: Variety, symbol: str, expires: date, terms: ContractTerms, day: date, pre_close: float, pre_interest: int
) -> ContractInfo:
    """A futures contract on trading day `day`; margin and commission are CNY a lot."""
    year, month = variety.delivery(symbol, day)
    notional = terms.pre_settlement * terms.multiplier
    night = [variety.sessions.night] if variety.sessions.night else []
    tick = f"{terms.price_tick:.6f}".rstrip("0")
    return ContractInfo(
        instrument_id=symbol,
        exchange_id=variety.exchange,
        instrument_name=f"{variety.name}{year % 100:02d}{month:02d}",
        english_name=symbol.split(".", 1)[1],
        product_id=variety.product,
        product_short_name=variety.name,
        price_tick=terms.price_tick,
        price_decs=len(tick) - tick.index(".") - 1,
        trading_day=midnight_ns(day),
        trading_time=TradingTime(_hours(variety.sessions.day), _hours(night)),
        volume_multiple=terms.multiplier,
        quote_multiple=terms.multiplier,
        delivery_year=year,
        delivery_month=month,
        expired=day > expires,
        expire_datetime=midnight_ns(expires) + 15 * 60 * NS_PER_MINUTE,
        settlement_price=terms.pre_settlement,
        pre_close=pre_close,
        pre_open_interest=pre_interest,
        upper_limit=terms.upper_limit,
        lower_limit=terms.lower_limit,
        margin=notional * terms.margin_ratio,
        commission=notional * terms.fees.open_ratio + terms.fees.open_lot,
    )


def describe_main(variety: Variety, main: ContractInfo) -> MainSeriesInfo:
    """The main series, `main` being the contract it follows."""
    return MainSeriesInfo(
        instrument_id=variety.continuous_symbol,
        instrument_name=f"{variety.name}主连",
        price_tick=main.price_tick,
        price_decs=main.price_decs,
        trading_time=main.trading_time,
        trading_day=main.trading_day,
        volume_multiple=main.volume_multiple,
        quote_multiple=main.quote_multiple,
        underlying=Underlying(1, (UnderlyingEdge(1, main),)),
    )


def _hours(bounds: Iterable[tuple[int, int]]) -> Hours:
    """Session bounds as `HH:MM:SS`; beyond midnight they go on to 25:00:00."""
    return [[f"{m // 60:02d}:{m % 60:02d}:00" for m in (a // NS_PER_MINUTE, b // NS_PER_MINUTE)] for a, b in bounds]


def _tokens(text: str) -> list[str]:
    tokens, at, text = [], 0, text.rstrip().rstrip(",").rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ValueError(f"not GraphQL near {text[at : at + 20]!r}")
        tokens.append(match.group(1))
        at = match.end()
    return tokens


def _value(tokens: list[str], at: int, variables: Mapping[str, Value]) -> tuple[Value, int]:
    if tokens[at : at + 1] == ["["]:
        return _list(tokens, at + 1, variables)
    return _scalar(tokens, at, variables)


def _list(tokens: list[str], at: int, variables: Mapping[str, Value]) -> tuple[list[Scalar], int]:
    items: list[Scalar] = []
    while at < len(tokens) and tokens[at] != "]":
        item, at = _value(tokens, at, variables)
        if isinstance(item, list):
            raise ValueError("a list in a list is no argument here")
        items.append(item)
    if at >= len(tokens):
        raise ValueError("a list in the query does not end")
    return items, at + 1


def _scalar(tokens: list[str], at: int, variables: Mapping[str, Value]) -> tuple[Value, int]:
    if at >= len(tokens):
        raise ValueError("the query ends in the middle of an argument")
    token = tokens[at]
    if token[0] == "$":
        return variables.get(token[1:]), at + 1
    if token[0] == '"':
        return re.sub(r"\\(.)", r"\1", token[1:-1]), at + 1
    if token in ("true", "false", "null"):
        return {"true": True, "false": False, "null": None}[token], at + 1
    if token[0].isdigit() or token[0] == "-":
        return float(token) if any(c in token for c in ".eE") else int(token), at + 1
    if re.fullmatch(r"[A-Za-z_]\w*", token):
        return token, at + 1  # an enum value: FUTURE, CONT
    raise ValueError(f"{token!r} is no value")
