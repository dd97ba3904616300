"""Answers instrument queries over DIFF: what `ins_query` asks in GraphQL, and what a contract looks like in the answer.

Only the one root field TqSdk sends, `multi_symbol_info`, with its filters; whole objects are returned whatever the
selection names, as TqSdk takes what it knows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import date
from typing import Any

from ghtrader_exchange.world.contract_terms import MAX_ORDER_VOLUME, ContractTerms
from ghtrader_market.reference.trading_calendar import midnight_ns
from ghtrader_market.reference.varieties import NS_PER_MINUTE, Variety

_TOKEN = re.compile(
    r"""\s*(?:#[^\n]*\n)?\s*,*\s*("""
    r""""(?:[^"\\]|\\.)*"|"""  # text
    r"""\$?[A-Za-z_]\w*|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|[\[\](){}:!@=]|\.\.\.)"""
)
FILTERS = frozenset({"instrument_id", "class", "exchange_id", "product_id", "expired", "has_night", "timestamp"})


def parse_filters(query: str, variables: dict[str, Any] | None = None) -> dict[str, Any]:
    """Arguments of `multi_symbol_info` in a GraphQL query.

    Returns
    -------
    dict
        Argument name to value, variables put in; a variable that was not given is left out.

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
    found: dict[str, Any] = {}
    if at >= len(tokens) or tokens[at] != "(":
        return found
    at += 1
    while True:
        if at >= len(tokens):
            raise ValueError("the arguments of multi_symbol_info do not end")
        if tokens[at] == ")":
            break
        name = tokens[at]
        if name not in FILTERS:
            raise ValueError(f"multi_symbol_info has no argument {name} here")
        if tokens[at + 1 : at + 2] != [":"]:
            raise ValueError(f"no value for argument {name}")
        value, at = _value(tokens, at + 2, variables or {})
        if value is not None:
            found[name] = value
    return found


def select(instruments: Iterable[dict[str, Any]], filters: dict[str, Any]) -> list[dict[str, Any]]:
    """Those of `instruments` (symbol objects as they go over the wire) that pass every filter."""
    tests = [_filter(name, value) for name, value in filters.items()]
    return [ins for ins in instruments if all(test(ins) for test in tests)]


def _filter(name: str, value: Any) -> Callable[[dict[str, Any]], bool]:
    if name in ("instrument_id", "class", "exchange_id", "product_id"):
        wanted = set(value) if isinstance(value, list) else {value}
        return lambda ins: ins.get(name) in wanted
    if name == "expired":
        return lambda ins: bool(ins.get("expired", False)) == bool(value)
    if name == "has_night":
        return lambda ins: bool(ins["trading_time"].get("night")) == bool(value)
    return lambda ins: True


def describe_contract(
    variety: Variety, symbol: str, expires: date, terms: ContractTerms, day: date, pre_close: float, pre_interest: int
) -> dict[str, Any]:
    """A futures contract as DIFF describes it on trading day `day`; margin and commission are CNY a lot."""
    year, month = variety.delivery(symbol, day)
    notional = terms.pre_settlement * terms.multiplier
    return {
        "instrument_id": symbol,
        "exchange_id": variety.exchange,
        "instrument_name": f"{variety.name}{year % 100:02d}{month:02d}",
        "english_name": symbol.split(".", 1)[1],
        "class": "FUTURE",
        "product_id": variety.product,
        "product_short_name": variety.name,
        **_shared(variety, terms, day),
        "delivery_year": year,
        "delivery_month": month,
        "expired": day > expires,
        "expire_datetime": midnight_ns(expires) + 15 * 60 * NS_PER_MINUTE,
        "settlement_price": terms.pre_settlement,
        "pre_close": pre_close,
        "pre_open_interest": pre_interest,
        "upper_limit": terms.upper_limit,
        "lower_limit": terms.lower_limit,
        "max_limit_order_volume": MAX_ORDER_VOLUME,
        "max_market_order_volume": 0,
        "min_limit_order_volume": 1,
        "min_market_order_volume": 0,
        "open_limit": 0,
        "open_max_limit_order_volume": MAX_ORDER_VOLUME,
        "open_max_market_order_volume": 0,
        "open_min_limit_order_volume": 1,
        "open_min_market_order_volume": 0,
        "margin": notional * terms.margin_ratio,
        "commission": notional * terms.fees.open_ratio + terms.fees.open_lot,
        "mmsa": True,
        "categories": [{"id": "METALS", "name": "金属"}],
        "position_limit": None,
    }


def describe_main(variety: Variety, main: dict[str, Any]) -> dict[str, Any]:
    """The main series as DIFF describes it, `main` being the contract it follows."""
    names = ("price_tick", "price_decs", "trading_time", "trading_day", "volume_multiple", "quote_multiple")
    return {
        "instrument_id": variety.continuous_symbol,
        "instrument_name": f"{variety.name}主连",
        "class": "CONT",
        "exchange_id": "KQ",
        **{name: main[name] for name in names},
        "underlying": {"count": 1, "edges": [{"underlying_multiple": 1, "node": main}]},
    }


def _shared(variety: Variety, terms: ContractTerms, day: date) -> dict[str, Any]:
    night = [variety.sessions.night] if variety.sessions.night else []
    tick = f"{terms.price_tick:.6f}".rstrip("0")
    return {
        "price_tick": terms.price_tick,
        "price_decs": len(tick) - tick.index(".") - 1,
        "trading_day": midnight_ns(day),
        "trading_time": {"day": _hours(variety.sessions.day), "night": _hours(night)},
        "volume_multiple": terms.multiplier,
        "quote_multiple": terms.multiplier,
    }


def _hours(bounds: Iterable[tuple[int, int]]) -> list[list[str]]:
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


def _value(tokens: list[str], at: int, variables: dict[str, Any]) -> tuple[Any, int]:
    if at >= len(tokens):
        raise ValueError("the query ends in the middle of an argument")
    token = tokens[at]
    if token == "[":
        items, at = [], at + 1
        while at < len(tokens) and tokens[at] != "]":
            item, at = _value(tokens, at, variables)
            items.append(item)
        if at >= len(tokens):
            raise ValueError("a list in the query does not end")
        return items, at + 1
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
