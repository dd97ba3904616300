"""Starts a gateway: checks the gates, takes the locks, makes the broker of the mode, runs."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING

import numpy as np

from ghtrader_base.errors import UsageError
from ghtrader_base.lock_keys import trade_key
from ghtrader_base.locks import resource_lock
from ghtrader_base.processes import register
from ghtrader_base.settings import Settings
from ghtrader_base.trading_enums import RunMode
from ghtrader_market.accounting.fees import rates_at
from ghtrader_market.reference.symbols import parse_symbol
from ghtrader_market.reference.tick_schema import values_matrix
from ghtrader_market.reference.trading_calendar import load_calendar
from ghtrader_market.reference.varieties import FeeRates, variety_of
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_runtime.accounts.account import account_ref, bind_login, login_of
from ghtrader_runtime.accounts.live_gate import check_gates, require_credentials, require_true_clock
from ghtrader_runtime.brokers.base import Broker, Market
from ghtrader_runtime.brokers.paper import Feed, PaperBroker
from ghtrader_runtime.brokers.recorded_feed import ReplayFeed
from ghtrader_runtime.brokers.tqsdk_isolation import isolate_home
from ghtrader_runtime.gateway import gateway
from ghtrader_runtime.run_options import GatewayOptions, ReplayOptions, check_options, execution_model
from ghtrader_runtime.runlog.summary import RunSummary

if TYPE_CHECKING:
    from ghtrader_runtime.brokers.tqsdk import TqSdkBroker


def replay_feed(settings: Settings, options: ReplayOptions) -> ReplayFeed:
    """A recorded day of the lake as a feed.

    Raises
    ------
    UsageError
        The lake does not have the day.
    """
    day = date.fromisoformat(options.day)
    lake = Lake(settings.data)
    if not lake.has_day(options.dataset, options.key, day):
        raise UsageError(f"no {options.dataset} of {options.key} on {day}", "build it, or choose another day")
    table = lake.read_day(options.dataset, options.key, day)
    contract = options.key
    if parse_symbol(contract).continuous:
        contract = str(table.column("underlying_contract")[0].as_py())
    variety = variety_of(contract)
    market = Market(contract, day, variety.price_tick(contract, day), variety.multiplier)
    ids = table.column("id").to_numpy()
    times = table.column("datetime_ns").to_numpy()
    values = np.ascontiguousarray(values_matrix(table).T)
    return ReplayFeed(market, ids, times, values, options.from_ns, options.pace)


def make_broker(settings: Settings, options: GatewayOptions) -> Broker:
    """The broker of a mode; nothing is connected yet."""
    variety = variety_of(options.symbol)
    if options.mode != RunMode.PAPER:
        return _tqsdk(settings, options)
    feed: Feed = replay_feed(settings, options.replay) if options.replay else _tqsdk(settings, options)
    if options.replay and feed.market.symbol != options.symbol:
        raise UsageError(f"{options.replay.day} trades {feed.market.symbol}, not {options.symbol}")
    held = options.replay.held if options.replay else None
    if held is not None and held.contract != options.symbol:
        raise UsageError(f"{held.contract} is held, and {options.symbol} is played", "close it after its own day")

    calendar = load_calendar(settings)

    def rates(symbol: str, market_ns: int) -> FeeRates:
        return rates_at(variety, calendar, symbol, market_ns)

    return PaperBroker(feed, rates, execution_model(options), held=held)


def _tqsdk(settings: Settings, options: GatewayOptions) -> TqSdkBroker:
    from ghtrader_runtime.brokers.tqsdk import TqSdkBroker
    from ghtrader_runtime.brokers.tqsdk_risk_rules import BrokerSideLimits

    require_credentials(settings, options.mode, options.sim)
    require_true_clock(settings, options.mode, options.monitor_only)
    isolate_home(settings, f"gateway-{options.mode}-{options.account}")
    limits = BrokerSideLimits(options.day_orders, options.day_lots)
    return TqSdkBroker(settings, options.mode, options.sim, limits)


def run_gateway(
    settings: Settings, options: GatewayOptions, on_start: Callable[[], None] = lambda: None
) -> RunSummary:
    """One gateway process, from its gates to its summary; `on_start` is called once gates and locks are passed.

    Raises
    ------
    RefusedError, LockHeldError
        A live gate is closed; another gateway holds the account, or its login under another name.
    ConfigError, UsageError, UnreachableError, IntegrityError
        Credentials, symbol, exchange or ledger are not usable.
    """
    options = check_options(options)
    check_gates(settings, options.mode, options.monitor_only, options.confirm_live)
    ref = account_ref(settings, options.account, options.mode, options.sim)
    purpose = f"gateway of {options.account} ({options.mode}) on {options.symbol}"
    with contextlib.ExitStack() as stack:
        for folder in bind_login(settings, ref, login_of(settings, options.mode, options.sim)):
            stack.enter_context(resource_lock(folder, trade_key(folder.name), purpose))
        stack.enter_context(register(settings, "gateway", purpose))
        logging.getLogger("asyncio").setLevel(logging.ERROR)
        broker = make_broker(settings, options)
        on_start()
        return gateway.run(settings, options, ref, broker)
