"""Starts a strategy: takes its lock, loads its model, runs."""

from __future__ import annotations

import contextlib
from pathlib import Path

from ghtrader_base.errors import RefusedError
from ghtrader_base.lock_keys import trade_strategy_key
from ghtrader_base.locks import resource_lock
from ghtrader_base.processes import register
from ghtrader_base.settings import Settings
from ghtrader_market.reference.varieties import variety_of
from ghtrader_models.bundles.bundle import Bundle, bundles_dir, load_bundle
from ghtrader_models.bundles.champions import load_champion_bundle
from ghtrader_runtime.accounts.account import account_ref
from ghtrader_runtime.accounts.live_gate import check_model
from ghtrader_runtime.run_options import StrategyOptions
from ghtrader_runtime.strategy.signal_engine import matching_factor_set
from ghtrader_runtime.strategy.strategy import StrategyResult, run


def load_model(settings: Settings, options: StrategyOptions) -> Bundle:
    """The bundle a strategy is to trade: the champion of the symbol's variety, a bundle id, or a folder.

    Raises
    ------
    UsageError
        There is none.
    RefusedError
        It was trained on another variety.
    """
    series = variety_of(options.symbol).continuous_symbol
    if options.model == "champion":
        return load_champion_bundle(settings.models, series, options.horizon)
    folder = bundles_dir(settings.models) / options.model
    bundle = load_bundle(folder, folder.name) if folder.is_dir() else load_bundle(Path(options.model))
    if variety_of(bundle.symbol).continuous_symbol != series:
        message = f"bundle {bundle.bundle_id} was trained on {bundle.symbol}, not {series}"
        raise RefusedError(message, "name another model")
    return bundle


def run_strategy(settings: Settings, options: StrategyOptions) -> StrategyResult:
    """One strategy process: lock, model, join, trade.

    Raises
    ------
    LockHeldError
        Another strategy trades this account.
    RefusedError, UnreachableError, UsageError, IntegrityError
        See `strategy.run` and `load_model`.
    """
    ref = account_ref(settings, options.account, options.mode, options.sim)
    purpose = f"strategy of {options.account} on {options.symbol}"
    with contextlib.ExitStack() as stack:
        stack.enter_context(resource_lock(ref.state_dir, trade_strategy_key(ref.name), purpose))
        stack.enter_context(register(settings, "strategy", purpose))
        bundle = load_model(settings, options)
        check_model(bundle, options.mode, options.monitor_only)
        matching_factor_set(bundle)
        return run(settings, options, ref, bundle)
