"""Refuses a real account unless both steps to real orders were taken, and a login that is missing."""

from __future__ import annotations

from ghtrader_base.errors import ConfigError, RefusedError
from ghtrader_base.settings import Settings
from ghtrader_base.trading_enums import RunMode, SimKind

CONFIRMATION = "I_UNDERSTAND"


def check_gates(settings: Settings, mode: RunMode, monitor_only: bool, confirm_live: str) -> None:
    """The two steps in front of a real account.

    Raises
    ------
    RefusedError
        `live` without both `GHTRADER_LIVE_ENABLED=true` and `--confirm-live I_UNDERSTAND`.
    """
    if mode != RunMode.LIVE or monitor_only:
        return
    if not settings.live_enabled:
        raise RefusedError(
            "orders to a real account are disabled", "set GHTRADER_LIVE_ENABLED=true, or add --monitor-only"
        )
    if confirm_live != CONFIRMATION:
        raise RefusedError("live trading was not confirmed", f"add --confirm-live {CONFIRMATION}, or --monitor-only")


def require_credentials(settings: Settings, mode: RunMode, sim: SimKind) -> None:
    """`ConfigError` naming what is missing to log in."""
    if not settings.tqsdk_user or not settings.tqsdk_password.get_secret_value():
        raise ConfigError("TQSDK_USER or TQSDK_PASSWORD is not set", "put both into the environment or .env")
    if mode == RunMode.LIVE and not (settings.tq_broker_id and settings.tq_account_id):
        raise ConfigError("TQ_BROKER_ID or TQ_ACCOUNT_ID is not set", "put both into the environment or .env")
