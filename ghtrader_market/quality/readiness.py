"""Assesses a day's readiness: may this day of ticks feed features, and if not, why and what to do.

Six fields answer it. `engineering_state` is about the stored file, `source_state` about what the source gave,
`policy_state` about what the settings allow, `overall_state` is what counts, `reason_code` names the one thing that
decided and `action_hint` what a person can do. What was counted on the way (anomalies, profile) is kept beside it by
`quality.store`, so that the gate need not count again. Whether every byte of a store holds is `audit`'s question.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from functools import partial

import pyarrow as pa

from ghtrader_base.errors import GhtraderError, IntegrityError, UsageError
from ghtrader_base.files import content_hash
from ghtrader_base.settings import Settings
from ghtrader_market.quality.anomalies import Anomaly, Limits, find_anomalies
from ghtrader_market.quality.day_profile import Profile, profile_day
from ghtrader_market.quality.readiness_types import DayQuality, Readiness
from ghtrader_market.quality.store import load_quality, save_quality
from ghtrader_market.reference.roll_schedule import RollSchedule, load_schedule
from ghtrader_market.reference.symbols import parse_symbol
from ghtrader_market.reference.tick_schema import values_matrix
from ghtrader_market.reference.trading_calendar import TradingCalendar, load_calendar
from ghtrader_market.reference.varieties import variety_of
from ghtrader_market.stores.lake.closing_rows import lacks_closing_rows
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_market.stores.lake.manifests import DayManifest
from ghtrader_market.stores.lake.missing_days import no_data_days
from ghtrader_market.stores.lake.unfinished_days import why_unfinished, why_unfinished_main

DATASETS = ("ticks", "main_l5")
UNFINISHED = "unfinished"
"""Reason code of a day that was recorded by us, and not to its end."""
_NEVER = ("disordered_time", "negative_value", "volume_backwards")
"""One such row is one too many: cumulative figures and order are what everything is computed from."""
_DAMAGE = ("duplicate_row", "crossed_book", "locked_book", "off_grid", "absent_book")
"""Rows of one time alone are none: events are ordered by row, and a clock of whole seconds shows no more."""
_HOLES = ("session_missing", "night_missing", "gap", "stale_quotes")
_EVENTS = ("limit_move", "price_jump")
"""They happen: worth a look, never a reason to leave a day out."""


@dataclass(frozen=True)
class Thresholds:
    """What the settings GHTRADER_QUALITY_* say; each is described there.

    Attributes
    ----------
    limits : Limits
        From where on something is an anomaly.
    min_coverage : float
        Least part of the session time that is neither gap nor stale.
    max_bad_share : float
        Most rows of one kind of damage, as a part of the day's rows.
    partial_recordings : bool
        Whether a part of a day that somebody imported may feed features.
    """

    limits: Limits = Limits()
    min_coverage: float = 0.95
    max_bad_share: float = 0.001
    partial_recordings: bool = True

    @classmethod
    def of(cls, settings: Settings) -> Thresholds:
        """Those in force."""
        return cls(
            Limits(
                gap_s=settings.quality_gap_s,
                gap_intervals=settings.quality_gap_intervals,
                stale_s=settings.quality_stale_s,
                stale_trades=settings.quality_stale_trades,
                limit_move=settings.quality_limit_move,
                jump=settings.quality_jump,
            ),
            settings.quality_min_coverage,
            settings.quality_max_bad_share,
            settings.quality_partial_recordings,
        )

    @property
    def hash(self) -> str:
        """Equal for equal thresholds."""
        return content_hash(asdict(self))[:16]


def readiness(
    settings: Settings,
    dataset: str,
    symbol: str,
    day: date,
    *,
    calendar: TradingCalendar | None = None,
    schedule: RollSchedule | None = None,
) -> Readiness:
    """Whether a day may feed features. Counted once for a content and thresholds, then read from beside the lake.

    Parameters
    ----------
    settings : Settings
    dataset : str
        ``ticks`` or ``main_l5``.
    symbol : str
        ``SHFE.cu2502`` or ``KQ.m@SHFE.cu``.
    day : date
    calendar : TradingCalendar, optional
        The home's by default; pass it where many days are asked for.
    schedule : RollSchedule, optional
        That of the variety, as the home has it now (`schedule_now`); pass it where many days of main_l5 are asked for:
        it takes the longer to read and check the more days it has.

    Raises
    ------
    UsageError
        No such dataset.
    """
    return day_quality(settings, dataset, symbol, day, calendar=calendar, schedule=schedule).readiness


def schedule_now(settings: Settings, symbol: str) -> RollSchedule | None:
    """The roll schedule of a main series; None for one contract, and where there is none that can be read: what is the
    matter with it is said of each day."""
    if not parse_symbol(symbol).continuous:
        return None
    try:
        return load_schedule(settings.data, variety_of(symbol).key)
    except GhtraderError:
        return None


def day_quality(
    settings: Settings,
    dataset: str,
    symbol: str,
    day: date,
    *,
    calendar: TradingCalendar | None = None,
    schedule: RollSchedule | None = None,
) -> DayQuality:
    """As `readiness`, with the anomalies and the profile."""
    if dataset not in DATASETS:
        raise UsageError(f"no quality of {dataset!r}", f"there is one of {', '.join(DATASETS)}")
    calendar, thresholds, lake = calendar or load_calendar(settings), Thresholds.of(settings), Lake(settings.data)
    try:
        manifest = lake.manifest(dataset, symbol, day)
    except IntegrityError as error:
        return _without_rows(_judged(dataset, symbol, day, "corrupt", "unknown", "corrupt", error.hint))
    if manifest is None:
        return _without_rows(_absent(lake, dataset, symbol, day))
    if stale := _outdated(lake, calendar, manifest, symbol, day, schedule):
        return _without_rows(_judged(dataset, symbol, day, "outdated", "unknown", "outdated", stale))
    if not calendar.speaks_for(day) or not calendar.is_trading_day(day):
        hint = "the holiday list does not have it as a trading day; the day stays as it is, and is not built"
        return _without_rows(_judged(dataset, symbol, day, "ok", "unknown", "no_trading_day", hint))
    whole = why_unfinished if dataset == "ticks" else partial(why_unfinished_main, lake)
    if why := whole(calendar, manifest):
        fetch = f"once the day is over: ghtrader download --symbol {_contract_of(manifest)} --start {day} --end {day}"
        return _without_rows(_judged(dataset, symbol, day, "ok", "partial", UNFINISHED, f"{why}; {fetch}"))
    sessions = calendar.sessions(variety_of(symbol), day)
    key = content_hash([thresholds.hash, sessions])[:16]
    path = lake.day_path(dataset, symbol, day) / next(iter(manifest.files), "")
    found = load_quality(lake, manifest, path, key)
    if found is None:
        found = _count(lake, calendar, thresholds, manifest, symbol, day)
        if found.profile is not None:
            save_quality(lake, manifest, path, key, found)
    return found


def _count(
    lake: Lake, calendar: TradingCalendar, thresholds: Thresholds, manifest: DayManifest, symbol: str, day: date
) -> DayQuality:
    try:
        lake.verify_day(manifest.dataset, symbol, day)
        table = lake.read_day(manifest.dataset, symbol, day)
    except IntegrityError as error:
        hint = f"{error.message}; {error.hint}"
        return _without_rows(_judged(manifest.dataset, symbol, day, "corrupt", "unknown", "corrupt", hint))
    contract = _contract_of(manifest)
    anomalies, profile = examine(table, calendar, contract, day, thresholds.limits)
    recorded = _is_recording(lake, manifest, contract, day)
    return DayQuality(
        judge(manifest.dataset, symbol, day, anomalies, profile, thresholds, recorded), tuple(anomalies), profile
    )


def examine(
    table: pa.Table, calendar: TradingCalendar, contract: str, day: date, limits: Limits
) -> tuple[list[Anomaly], Profile]:
    """Anomalies and profile of one day of ticks (`RAW_TICK_SCHEMA` or more columns)."""
    variety = variety_of(contract)
    times, values = table.column("datetime_ns").combine_chunks().to_numpy(zero_copy_only=False), values_matrix(table)
    sessions = calendar.sessions(variety, day)
    index = calendar.session_index(variety, day, times)
    # The continuous symbol of a vendor's one-level history belongs to no contract, so it has no grid of its own.
    tick = math.nan if parse_symbol(contract).continuous else variety.price_tick(contract, day)
    has_night = calendar.has_night(day, variety)
    return (
        find_anomalies(times, values, index, sessions, tick, has_night, limits),
        profile_day(times, values, index, sessions, tick),
    )


def judge(
    dataset: str,
    symbol: str,
    day: date,
    anomalies: Sequence[Anomaly],
    profile: Profile,
    thresholds: Thresholds,
    recorded: bool,
) -> Readiness:
    """The six fields of a day whose file holds, from what was counted.

    Parameters
    ----------
    recorded : bool
        Somebody imported the day: what it does not cover nobody can fetch.
    """
    found = {anomaly.kind: anomaly for anomaly in anomalies}
    rows = max(1, profile.rows)
    trading = sum(profile.session_seconds)
    hint = _hint(dataset, symbol, day)
    for kind in (*_NEVER, *_DAMAGE):
        if kind in found and (kind in _NEVER or found[kind].count > thresholds.max_bad_share * rows):
            return _judged(dataset, symbol, day, "ok", "anomalous", kind, hint)
    holes = [found[kind] for kind in _HOLES if kind in found]
    covered = 1.0 - sum(hole.seconds for hole in holes) / trading
    missing = any(hole.kind.endswith("_missing") for hole in holes)
    partial = missing or covered < thresholds.min_coverage
    if partial:
        allowed = recorded and thresholds.partial_recordings and sum(profile.session_rows) > 0
        if allowed:
            hint = "imported as a part of the day, and used as it is; GHTRADER_QUALITY_PARTIAL_RECORDINGS decides"
        return _judged(dataset, symbol, day, "ok", "partial", holes[0].kind, hint, blocked=not allowed)
    for kind in (*_DAMAGE, *_HOLES, *_EVENTS):
        if kind in found:
            look = (
                f"look at it: ghtrader data quality anomalies --var {variety_of(symbol).key} --start {day} --end {day}"
            )
            return _judged(dataset, symbol, day, "ok", "anomalous", kind, look, blocked=False)
    if profile.levels == 1:
        hint = "factors of levels 2-5 are left out; five-level ticks would bring them"
        return Readiness(
            dataset=dataset,
            symbol=symbol,
            day=day,
            engineering_state="ok",
            source_state="one_level",
            policy_state="allowed",
            overall_state="ready",
            reason_code="one_level",
            action_hint=hint,
        )
    return Readiness(
        dataset=dataset,
        symbol=symbol,
        day=day,
        engineering_state="ok",
        source_state="complete",
        policy_state="allowed",
        overall_state="ready",
        reason_code="ok",
        action_hint="",
    )


def _judged(
    dataset: str,
    symbol: str,
    day: date,
    engineering: str,
    source: str,
    reason: str,
    hint: str,
    blocked: bool = True,
) -> Readiness:
    policy, overall = ("blocked", "not_ready") if blocked else ("allowed", "degraded")
    return Readiness(
        dataset=dataset,
        symbol=symbol,
        day=day,
        engineering_state=engineering,
        source_state=source,
        policy_state=policy,
        overall_state=overall,
        reason_code=reason,
        action_hint=hint,
    )


def _contract_of(manifest: DayManifest) -> str:
    return (manifest.main_l5.contract if manifest.dataset == "main_l5" else None) or manifest.key


def _without_rows(found: Readiness) -> DayQuality:
    return DayQuality(found, (), None)


def _hint(dataset: str, symbol: str, day: date) -> str:
    key = variety_of(symbol).key
    fetch = f"fetch the day again, or use it as it is: ghtrader build --var {key} --start {day} --end {day}"
    return f"{fetch} --accept-quality"


def _absent(lake: Lake, dataset: str, symbol: str, day: date) -> Readiness:
    key = variety_of(symbol).key
    if dataset == "main_l5":
        hint = f"ghtrader main-l5 --var {key} --start {day} --end {day}"
        return _judged(dataset, symbol, day, "missing", "unknown", "missing", hint)
    if day in no_data_days(lake, symbol):
        return _judged(dataset, symbol, day, "missing", "no_data", "no_data", "the source has no tick of that day")
    hint = f"ghtrader download --symbol {symbol} --start {day} --end {day}"
    return _judged(dataset, symbol, day, "missing", "unknown", "missing", hint)


def _outdated(
    lake: Lake, calendar: TradingCalendar, manifest: DayManifest, symbol: str, day: date, schedule: RollSchedule | None
) -> str:
    """What to do where a main_l5 day is not what its ticks and the schedule would make now; empty where it is."""
    if manifest.dataset != "main_l5":
        return ""
    key = variety_of(symbol).key
    mend = f"ghtrader main-l5 --var {key} --start {day} --end {day}"
    known = manifest.main_l5
    raw = lake.manifest("ticks", str(known.contract), day)
    if raw is not None and raw.content_hash != known.raw_content_hash:
        return mend
    try:
        scheduled = (schedule or load_schedule(lake.root, key)).get(day)
    except (IntegrityError, UsageError):
        return f"ghtrader main-schedule --var {key}"
    if scheduled is None or scheduled.schedule_hash != known.schedule_hash:
        return mend
    if lacks_closing_rows(lake, calendar, manifest):
        return f"built by rule {known.session_rule or 1}, without the snapshots that end its sessions: {mend}"
    return ""


def _is_recording(lake: Lake, manifest: DayManifest, contract: str, day: date) -> bool:
    raw = manifest if manifest.dataset == "ticks" else lake.manifest("ticks", contract, day)
    return raw is not None and raw.source.startswith("recording:")
