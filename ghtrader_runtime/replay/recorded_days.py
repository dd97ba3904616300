"""Trades recorded days on paper: the gateway and strategy processes of live trading, fed by the recorded feed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import msgspec

from ghtrader_base.errors import UnwritableError, UsageError
from ghtrader_base.settings import Settings
from ghtrader_base.trading_enums import RunMode
from ghtrader_base.trading_limits import LimitValue
from ghtrader_market.accounting.carried_position import CarriedPosition, settlement_fills, why_settled
from ghtrader_market.accounting.execution_model import FLAT_BEFORE_END_S
from ghtrader_market.accounting.round_trips import round_trips
from ghtrader_market.reference.last_trading_day import last_trading_day
from ghtrader_market.reference.trading_calendar import last_session_end, load_calendar
from ghtrader_market.reference.varieties import get_variety, variety_of
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_market.stores.lake.unfinished_days import why_unfinished_main
from ghtrader_models.bundles.bundle import bundles_dir, load_bundle
from ghtrader_models.bundles.sample_check import judge_sample, worst
from ghtrader_runtime.run_options import GatewayOptions, ReplayOptions, StrategyOptions, check_options
from ghtrader_runtime.runlog.journal import read_lines
from ghtrader_runtime.runlog.summary import RunSummary, write_summary
from ghtrader_runtime.supervisor.supervisor import new_run_id, trade

DATASET = "main_l5"
PAPER_RATE = 120
"""Orders in a minute of market time where nobody says otherwise: a recorded day harms nobody."""


def block_start_ns(lake: Lake, key: str, day: date, blocks: int) -> int:
    """Market time (UTC epoch ns) at which the last of `blocks` equally long runs of ticks of a day starts."""
    if blocks < 1:
        raise UsageError(f"a day has no {blocks} blocks", "1 plays the whole day, 8 its last eighth")
    times = lake.read_day(DATASET, key, day, ["datetime_ns"]).column("datetime_ns").to_numpy()
    return int(times[len(times) - len(times) // blocks])


def replay_days(
    settings: Settings, variety: str, days: int = 1, day: date | None = None, allow_unfinished: bool = False
) -> list[date]:
    """Days of main_l5 to play: `day`, or the last `days` there are that were recorded to their end.

    `allow_unfinished`: days too that were not, as they are.

    Raises
    ------
    UsageError
        The lake has none, or not that one, or not to its end.
    """
    lake, key = Lake(settings.data), get_variety(variety).continuous_symbol
    have, calendar = lake.days(DATASET, key), load_calendar(settings)

    def stub(one: date) -> str:
        if allow_unfinished:
            return ""
        manifest = lake.manifest(DATASET, key, one)
        return why_unfinished_main(lake, calendar, manifest) if manifest is not None else ""

    if day is not None:
        if day not in have:
            known = f"{have[0]} to {have[-1]}" if have else "none yet"
            raise UsageError(f"no main_l5 of {variety} on {day}; days: {known}", f"ghtrader main-l5 --var {variety}")
        if why := stub(day):
            raise UsageError(
                f"{why}: it is no day to play",
                "download it once it is over, and run main-l5 again; to play it as it is: --allow-unfinished",
            )
        return [day]
    if not have or days < 1:
        raise UsageError(f"no recorded day of {variety} to play", f"ghtrader main-l5 --var {variety}")
    whole: list[date] = []
    for one in reversed(have):
        if len(whole) < days and not stub(one):
            whole.append(one)
    if not whole:
        raise UsageError(
            f"no day of {variety} was recorded to its end",
            "download the days, and run main-l5 again; to play them as they are: --allow-unfinished",
        )
    return whole[::-1]


def paper_day(
    settings: Settings,
    variety: str,
    day: date,
    *,
    account: str = "paper",
    model: str = "champion",
    horizon: int = 50,
    from_ns: int = 0,
    blocks: int = 0,
    pace: float = 0.0,
    flat_before_end_s: float = FLAT_BEFORE_END_S,
    flat_from_ns: int = 0,
    held: CarriedPosition | None = None,
    run_id: str = "",
    on_ready: Callable[[], None] | None = None,
    **limits: LimitValue,
) -> RunSummary:
    """Trade one recorded day on paper.

    Parameters
    ----------
    variety : str
        Its main_l5 is played.
    from_ns : int
        Ticks before this moment warm the factors, the others are traded; 0 plays all.
    blocks : int
        Instead of `from_ns`: play the last of so many equal blocks.
    pace : float
        Ticks a second; 0 is lock-step, as fast as both processes go.
    model, horizon, flat_before_end_s, flat_from_ns
        As in `StrategyOptions`.
    held : CarriedPosition, optional
        What could not be closed on the day before (`CarriedPosition.at_start_of` this one).
    **limits
        Limits, policies and style, as in `GatewayOptions`.

    Returns
    -------
    RunSummary
        Of the run, with its `folder`, and whether the model had learned from what was played (`sample`).
    """
    key = get_variety(variety).continuous_symbol
    lake = Lake(settings.data)
    if blocks:
        from_ns = block_start_ns(lake, key, day, blocks)
    contract = _contract(lake, key, day)
    given: dict[str, Any] = {"rate_orders": PAPER_RATE, **limits}
    replay = ReplayOptions(dataset=DATASET, key=key, day=str(day), from_ns=from_ns, pace=pace, held=held)
    gateway = GatewayOptions(
        account=account, mode=RunMode.PAPER, symbol=contract, run_id=run_id or new_run_id("paper"), replay=replay,
        **given,
    )  # fmt: skip
    gateway = check_options(gateway)
    strategy = StrategyOptions(
        account=account, mode=RunMode.PAPER, symbol=contract, model=model, horizon=horizon,
        flat_before_end_s=flat_before_end_s, flat_from_ns=flat_from_ns,
    )  # fmt: skip
    summary = trade(settings, gateway, strategy, on_ready=on_ready)
    return _with_sample(summary, settings, model, day, from_ns or _first_ns(lake, key, day))


def paper_days(
    settings: Settings,
    variety: str,
    days: Sequence[date],
    *,
    on_day: Callable[[date], None] = lambda day: None,
    **options: Any,
) -> list[RunSummary]:
    """Trade recorded days on paper, one after another: what could not be closed on one is held on the next.

    At a roll, and where a contract expires, it is closed at its last mark; the summary of its day says so (`settled`).

    Parameters
    ----------
    days : sequence of date
        Ascending.
    on_day : callable, optional
        Called before each.
    **options
        As in `paper_day`.
    """
    lake, key = Lake(settings.data), get_variety(variety).continuous_symbol
    contracts = [*(_contract(lake, key, day) for day in days), ""]
    summaries: list[RunSummary] = []
    held: CarriedPosition | None = None
    for day, following in zip(days, contracts[1:], strict=True):
        on_day(day)
        carried_in = held.at_start_of(day) if held is not None else None
        summary = paper_day(settings, variety, day, held=carried_in, **options)
        held = summary.held[0] if summary.held else None
        if held is not None:
            last = last_trading_day(get_variety(variety), held.contract, day, load_calendar(settings))
            if why := why_settled(held, following, last):
                summary, held = settled_summary(summary, held, why), None
                _rewrite(summary)
        summaries.append(summary)
    return summaries


def settled_summary(summary: RunSummary, held: CarriedPosition, why: str) -> RunSummary:
    """The summary of a run whose last lots were closed at their mark after the day; `why` says that."""
    variety = variety_of(held.contract)
    end_ns = last_session_end(variety, held.day)
    fills = settlement_fills(held, variety.fees(held.contract, held.day), variety.multiplier, end_ns)
    fees = sum(fill.paid for fill in fills)
    every = (*summary.fill_list, *fills)
    trips = round_trips(every, dict.fromkeys({fill.symbol for fill in every}, variety.multiplier), summary.opening)
    money = summary.by_contract[held.contract]
    by_contract = {**summary.by_contract, held.contract: msgspec.structs.replace(
        money, fills=money.fills + len(fills), round_trips=money.round_trips + trips.count - summary.round_trips,
        fees=round(money.fees + fees, 6), net_pnl=round(money.net_pnl - fees, 6),
    )}  # fmt: skip
    return msgspec.structs.replace(
        summary, fills=len(every), fill_list=every, round_trips=trips.count, by_contract=by_contract,
        fees=round(summary.fees + fees, 6), net_pnl=round(summary.net_pnl - fees, 6),
        positions={**summary.positions, held.contract: 0}, held=None, settled=why,
    )  # fmt: skip


def _rewrite(summary: RunSummary) -> None:
    """Put a summary that says more in the place of the gateway's."""
    assert summary.folder is not None
    kept = msgspec.structs.replace(summary, folder=None, strategy_error=None, restarts=None)
    with contextlib.suppress(UnwritableError):  # the gateway's own is there, and a full disk was told
        write_summary(summary.folder, kept)


def _contract(lake: Lake, key: str, day: date) -> str:
    """The contract of a day of main_l5."""
    return str(lake.read_day(DATASET, key, day, ["underlying_contract"]).column(0)[0].as_py())


def _first_ns(lake: Lake, key: str, day: date) -> int:
    """Market time (UTC epoch ns) of a day's first tick."""
    return int(lake.read_day(DATASET, key, day, ["datetime_ns"]).column("datetime_ns")[0].as_py())


def _with_sample(summary: RunSummary, settings: Settings, model: str, day: date, first_ns: int) -> RunSummary:
    """Say, in the summary on disk too, whether the bundles that traded had learned from what was played."""
    assert summary.folder is not None
    events = read_lines(summary.folder / "strategy" / "events.jsonl")
    names = dict.fromkeys(line["model"] for line in events if line["kind"] in ("start", "champion-takes-over"))
    verdicts = []
    for name in names:
        folder = bundles_dir(settings.models) / name
        bundle = load_bundle(folder, folder.name) if folder.is_dir() else load_bundle(Path(model))
        verdicts.append(judge_sample(bundle.content, bundle.bundle_id, day, first_ns))
    verdict = worst(verdicts)
    if verdict is None:
        return summary
    told = msgspec.structs.replace(summary, sample=verdict.sample, sample_reason=verdict.reason)
    _rewrite(told)
    return told
