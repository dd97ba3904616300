"""Refuses a real account without both steps, with a wrong clock, a model of simulated ticks, or a missing login."""

from __future__ import annotations

from ghtrader_base.errors import ConfigError, RefusedError
from ghtrader_base.settings import Settings
from ghtrader_base.trading_enums import RunMode, SimKind
from ghtrader_market.reference.tick_origin import OriginKind, words_of
from ghtrader_market.sources.service_clock import REFUSE_S, read_service_clock
from ghtrader_models.bundles.bundle import Bundle

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


def check_model(bundle: Bundle, mode: RunMode, monitor_only: bool) -> None:
    """What a model that trades a real account must have learned from: ticks of one market, which is not simulated.

    Raises
    ------
    RefusedError
        `live`, and the days the bundle was made of are simulated, of several markets, or do not say where they come
        from: those of older versions are never taken for real.
    """
    if mode != RunMode.LIVE or monitor_only:
        return
    origins = bundle.content.origins
    if len(origins) == 1 and origins[0].kind in (OriginKind.SERVICE, OriginKind.FILE):
        return
    raise RefusedError(
        f"bundle {bundle.bundle_id} may not trade a real account, its days are of: "
        f"{words_of(origins)}",
        "train on days of one real market, or add --monitor-only",
    )


def require_true_clock(settings: Settings, mode: RunMode, monitor_only: bool) -> None:
    """This machine's clock against the service's, before a real account is traded.

    Raises
    ------
    RefusedError
        They differ by `REFUSE_S` or more.
    UnreachableError, FailedError
        The service does not tell its time: then nobody knows.
    """
    if mode != RunMode.LIVE or monitor_only:
        return
    state = read_service_clock(settings)
    if state.off_s >= REFUSE_S:
        raise RefusedError(state.words(), "set it, for example by timedatectl set-ntp true, or add --monitor-only")


def require_credentials(settings: Settings, mode: RunMode, sim: SimKind) -> None:
    """`ConfigError` naming what is missing to log in."""
    if not settings.tqsdk_user or not settings.tqsdk_password.get_secret_value():
        raise ConfigError("TQSDK_USER or TQSDK_PASSWORD is not set", "put both into the environment or .env")
    if mode == RunMode.LIVE and not (settings.tq_broker_id and settings.tq_account_id):
        raise ConfigError("TQ_BROKER_ID or TQ_ACCOUNT_ID is not set", "put both into the environment or .env")
