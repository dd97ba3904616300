"""Turns the times of a recording into UTC epoch ns, and never takes a wall-clock time for UTC.

A time comes as a number since the epoch (UTC by definition; s, ms, us or ns by its size), as a time with its zone, or
as the reading of a clock on a wall. Such a reading is Asia/Shanghai unless the user names a zone, and it must then lie
in the variety's sessions for the most part; where it does not, the file is refused with the option that says which
zone. Numbers are held against the sessions too: files exist whose numbers count the wall clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ghtrader_base.errors import BadRecordingError, UsageError
from ghtrader_market.reference.trading_calendar import SHANGHAI_OFFSET_NS, TradingCalendar
from ghtrader_market.reference.varieties import Variety
from ghtrader_market.sources.recordings.columns import Columns, is_text

SHANGHAI = "Asia/Shanghai"
_NS = 1_000_000_000
_NS_PER_DAY = 86_400 * _NS
_EARLIEST = int(np.datetime64("1995-01-01", "ns").astype(np.int64))
_LATEST = int(np.datetime64("2100-01-01", "ns").astype(np.int64))
_UNITS = (1, 1_000, 1_000_000, _NS)
"""Nanoseconds a unit of an epoch number has: ns, us, ms, s."""
_SLACK_NS = 5 * 60 * _NS
"""Around a session: the auction before it, the last prints after it."""
_PLAUSIBLE = 0.5
"""Share of the rows that must lie in sessions."""
_CLEARLY = 0.25
"""How much larger that share must be for another reading before the usual one is doubted."""
_COMPACT_SECONDS = (19_950_101_000000, 21_000_101_000000)
"""YYYYMMDDHHMMSS, first and last."""
_ZONED = r"(Z|[+-]\d\d:?\d\d)$"
_CLEANED = (
    (r"^(\d{4})[/.](\d{1,2})[/.](\d{1,2})", r"\1-\2-\3"),
    (r"^(\d{4})(\d\d)(\d\d)([ T])", r"\1-\2-\3\4"),
    (r"^(\d{4})-(\d)-", r"\1-0\2-"),
    (r"^(\d{4}-\d\d)-(\d)([ T])", r"\1-0\2\3"),
    (r"^(\d{4}-\d\d-\d\d[ T])(\d):", r"\10\2:"),
    (r"(:\d\d:\d\d):(\d{1,9})$", r"\1.\2"),
    (r" (Z|[+-]\d\d:?\d\d)$", r"\1"),
)
"""How vendors write a date and time -> ISO 8601."""


class Clock(StrEnum):
    """What a column of times counts."""

    EPOCH = "epoch"
    """Numbers since 1970, UTC."""
    ZONED = "zoned"
    """Date and time with a zone."""
    WALL = "wall"
    """Date and time of day of a clock whose zone the file does not say."""


@dataclass(frozen=True)
class Moments:
    """The times of a file's rows, not yet held against any sessions.

    Attributes
    ----------
    ns : int64[n]
        ns since 1970, of UTC or (`Clock.WALL`) of the wall clock.
    clock : Clock
    column : str
        Where they stand, for errors.
    """

    ns: np.ndarray
    clock: Clock
    column: str


def require_zone(name: str) -> str:
    """`name`, where it names a time zone; UsageError where it does not."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as exc:
        raise UsageError(
            f"there is no time zone {name!r}", f"for example --time-zone {SHANGHAI} or --time-zone UTC"
        ) from exc
    return name


# ---- reading columns ------------------------------------------------------------------------------------------------


def read_moments(columns: Columns, column: str) -> Moments:
    """The times of one column, whatever its type.

    Parameters
    ----------
    columns : Columns
    column : str
        Epoch numbers (s, ms, us, ns), ``YYYYMMDDHHMMSS`` with or without ``mmm`` as numbers, timestamps with or
        without a zone, or text: ISO 8601 and what vendors make of it (``20190916 14:01:33.500``, ``2019/9/16 ...``).

    Raises
    ------
    BadRecordingError
        A cell is empty or no time, named by its place.
    """
    found = columns.found(column)
    if pa.types.is_timestamp(found.type):
        clock = Clock.WALL if found.type.tz is None else Clock.ZONED
        _refuse_empty(columns, column, found)
        stamps = columns.cast(column, pa.timestamp("ns", found.type.tz), "a time between 1995 and 2100")
        return _in_range(columns, Moments(stamps.cast(pa.int64()).to_numpy(zero_copy_only=False), clock, column))
    if is_text(found.type):
        first = next((text for text in found.slice(0, 64).to_pylist() if text), "")
        if not _is_number(first):
            return _in_range(columns, _from_text(columns, column, found))
        fractions = "." in first and not float(first).is_integer()
    else:
        fractions = pa.types.is_floating(found.type) or pa.types.is_decimal(found.type)
    numbers = columns.numbers(column, empty=False) if fractions else columns.integers(column)
    return _in_range(columns, _from_numbers(column, numbers), numbers)


def days_of(columns: Columns, column: str) -> np.ndarray:
    """datetime64[D][n] from dates: YYYYMMDD as numbers or text, YYYY-MM-DD, or Arrow dates; NaT where a cell is empty.

    Of an Arrow timestamp it is the date that its own zone's calendar shows.

    Raises
    ------
    BadRecordingError
        A cell is no date.
    """
    found = columns.found(column)
    if pa.types.is_date(found.type) or pa.types.is_timestamp(found.type):
        if pa.types.is_timestamp(found.type):
            shown = found if found.type.tz is None else pc.local_timestamp(found)
            found = pc.floor_temporal(shown, unit="day")
        stamped: np.ndarray = found.cast(pa.timestamp("s"), safe=False).to_numpy(zero_copy_only=False)
        return stamped.astype("datetime64[D]")
    coded = found.dictionary_encode()
    words = coded.dictionary.to_pylist()
    days = np.array([_day(word) for word in words] or ["NaT"], dtype="datetime64[D]")
    wrong = [word for word, day in zip(words, days, strict=False) if np.isnat(day) and not _no_day(word)]
    codes = pc.fill_null(coded.indices, -1).to_numpy(zero_copy_only=False)
    if wrong:
        row = int(np.flatnonzero(codes == words.index(wrong[0]))[0])
        raise BadRecordingError(
            f"{columns.place(row)}, column {column}: {_shown(wrong[0])} is no date (YYYYMMDD)",
            "correct that line and import again",
        )
    return np.where(codes >= 0, days[codes], np.datetime64("NaT"))


def time_of_day_ns(columns: Columns, column: str, *, thousandths: bool | None = None) -> np.ndarray:
    """int64[n], ns since midnight: ``HH:MM:SS`` with a fraction or not, or HHMMSS or HHMMSSmmm as numbers.

    Parameters
    ----------
    columns : Columns
    column : str
    thousandths : bool, optional
        Whether numbers end with milliseconds; by their size where it is not said.

    Raises
    ------
    BadRecordingError
        A cell is empty or no time of day.
    """
    found = columns.found(column)
    if pa.types.is_time(found.type):
        _refuse_empty(columns, column, found)
        clock: np.ndarray = found.cast(pa.time64("ns")).cast(pa.int64()).to_numpy(zero_copy_only=False)
        return clock
    if pa.types.is_duration(found.type):  # what pandas makes of a time of day
        _refuse_empty(columns, column, found)
        since: np.ndarray = found.cast(pa.duration("ns")).cast(pa.int64()).to_numpy(zero_copy_only=False)
        if (rows := np.flatnonzero((since < 0) | (since >= _NS_PER_DAY))).size:
            raise BadRecordingError(
                f"{columns.place(int(rows[0]))}, column {column}: {since[rows[0]] / _NS:g} s are no time of day",
                "correct that line and import again",
            )
        return since
    if not is_text(found.type) or _is_number(next((text for text in found.slice(0, 64).to_pylist() if text), "")):
        return _clock_numbers(columns, column, thousandths)
    coded = found.dictionary_encode()
    times = [_clock_text(word) for word in coded.dictionary.to_pylist()]
    codes = pc.fill_null(coded.indices, -1).to_numpy(zero_copy_only=False)
    wrong = np.array([time is None for time in times] + [True])
    if (rows := np.flatnonzero(wrong[codes])).size:
        shown = _shown(found[int(rows[0])].as_py() or "")
        raise BadRecordingError(
            f"{columns.place(int(rows[0]))}, column {column}: {shown} is no time of day (HH:MM:SS)",
            "correct that line and import again",
        )
    of_day: np.ndarray = np.array([time or 0 for time in times], dtype=np.int64)[codes]
    return of_day


def _clock_numbers(columns: Columns, column: str, thousandths: bool | None) -> np.ndarray:
    numbers = columns.integers(column)
    if thousandths is None:
        thousandths = int(numbers.max(initial=0)) > 235_959
    clock, millis = (numbers // 1000, numbers % 1000) if thousandths else (numbers, np.zeros_like(numbers))
    hours, minutes, seconds = clock // 10_000, clock // 100 % 100, clock % 100
    bad = (numbers < 0) | (hours > 23) | (minutes > 59) | (seconds > 59)
    if (rows := np.flatnonzero(bad)).size:
        row = int(rows[0])
        raise BadRecordingError(
            f"{columns.place(row)}, column {column}: {numbers[row]} is no time of day (HHMMSSmmm)",
            "correct that line and import again",
        )
    of_day: np.ndarray = ((hours * 60 + minutes) * 60 + seconds) * _NS + millis * 1_000_000
    return of_day


def _clock_text(text: str | None) -> int | None:
    parts = (text or "").replace(" ", ":").split(":")
    try:
        hours, minutes = int(parts[0]), int(parts[1])
        seconds = float(parts[2]) if len(parts) > 2 else 0.0
        millis = int(parts[3]) if len(parts) == 4 else 0
    except (ValueError, IndexError):
        return None
    if len(parts) > 4 or not (0 <= hours < 24 and 0 <= minutes < 60 and 0 <= seconds < 60 and 0 <= millis < 1000):
        return None
    return (hours * 60 + minutes) * 60 * _NS + round(seconds * _NS) + millis * 1_000_000


def _no_day(word: object) -> bool:
    return word is None or str(word).strip() in ("", "0", "0.0", "nan", "#N/A", "N/A", "None", "null", "00000000")


def _day(word: object) -> str:
    """ISO date of a cell; NaT where it is empty or none."""
    if _no_day(word):
        return "NaT"
    text = str(word).strip().removesuffix(".0").replace("/", "-").replace(".", "-")
    try:
        if "-" in text:
            year, month, day = (int(part) for part in text.split(" ")[0].split("-"))
        else:
            number = int(text)
            year, month, day = number // 10_000, number // 100 % 100, number % 100
        return date(year, month, day).isoformat()
    except (ValueError, OverflowError):
        return "NaT"


def _shown(word: object) -> str:
    return repr(word[:24]) if isinstance(word, str) and not word.isdigit() else str(word)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _refuse_empty(columns: Columns, column: str, found: pa.Array) -> None:
    if found.null_count:
        row = int(np.flatnonzero(pc.is_null(found).to_numpy(zero_copy_only=False))[0])
        raise BadRecordingError(f"{columns.place(row)}, column {column}: is empty", "correct that line")


def _in_range(columns: Columns, moments: Moments, numbers: np.ndarray | None = None) -> Moments:
    bad = (moments.ns < _EARLIEST) | (moments.ns > _LATEST)
    if (rows := np.flatnonzero(bad)).size:
        row = int(rows[0])
        shown = moments.ns[row] if numbers is None else numbers[row]
        raise BadRecordingError(
            f"{columns.place(row)}, column {moments.column}: {shown} is no time between 1995 and 2100 "
            "(UTC epoch in s, ms, us or ns)",
            "correct that line and import again",
        )
    return moments


def epoch_ns(numbers: np.ndarray) -> np.ndarray:
    """int64[n]: epoch numbers in s, ms, us or ns, by the size of their median, as ns.

    Parameters
    ----------
    numbers : int64[n] or float64[n]
    """
    middle = abs(_middle(numbers))
    unit = next((unit for unit in _UNITS if middle * unit >= _EARLIEST), 1)
    if numbers.dtype.kind == "i":
        return np.where(np.abs(numbers) <= _LATEST // unit, numbers, 0) * unit
    scaled = np.where(np.abs(numbers) * unit <= _LATEST, numbers, 0.0)
    whole = np.floor(scaled)
    out: np.ndarray = whole.astype(np.int64) * unit + np.rint((scaled - whole) * unit).astype(np.int64)
    return out


def _middle(numbers: np.ndarray) -> float:
    """One of the middle numbers; 0 where there are none."""
    return float(np.partition(numbers, numbers.size // 2)[numbers.size // 2]) if numbers.size else 0.0


def _from_numbers(column: str, numbers: np.ndarray) -> Moments:
    middle = _middle(numbers)
    for thousandths in (1, 1000):
        if _COMPACT_SECONDS[0] * thousandths <= middle < _COMPACT_SECONDS[1] * thousandths:
            return Moments(_compact_ns(numbers.astype(np.int64), thousandths), Clock.WALL, column)
    return Moments(epoch_ns(numbers), Clock.EPOCH, column)


def _compact_ns(numbers: np.ndarray, thousandths: int) -> np.ndarray:
    """ns of the wall clock from YYYYMMDDHHMMSS, with ``mmm`` where `thousandths` is 1000; 0 where it is none."""
    seconds, millis = numbers // thousandths, numbers % thousandths
    days, clock = seconds // 1_000_000, seconds % 1_000_000
    unique, inverse = np.unique(days, return_inverse=True)
    dates = np.array([_day(int(each)) for each in unique], dtype="datetime64[D]")[inverse]
    hours, minutes, rest = clock // 10_000, clock // 100 % 100, clock % 100
    good = ~np.isnat(dates) & (hours < 24) & (minutes < 60) & (rest < 60)
    of_day = ((hours * 60 + minutes) * 60 + rest) * _NS + millis * 1_000_000
    return np.where(good, np.where(good, dates, np.datetime64(0, "D")).astype(np.int64) * _NS_PER_DAY + of_day, 0)


def _from_text(columns: Columns, column: str, found: pa.Array) -> Moments:
    text = found
    for pattern, written in _CLEANED:
        text = pc.replace_substring_regex(text, pattern, written)
    first = next((word for word in text.slice(0, 64).to_pylist() if word), "")
    zoned = bool(pc.match_substring_regex(pa.array([first]), _ZONED)[0].as_py())
    wanted = pa.timestamp("ns", "UTC") if zoned else pa.timestamp("ns")
    kind = "a time with a zone" if zoned else "a time"
    again = Columns(columns.name, pa.table({column: text}), columns.lines)
    stamps = again.cast(column, wanted, kind)
    _refuse_empty(columns, column, stamps)
    ns = stamps.cast(pa.int64()).to_numpy(zero_copy_only=False)
    return Moments(ns, Clock.ZONED if zoned else Clock.WALL, column)


# ---- from a wall clock to UTC ---------------------------------------------------------------------------------------


def local_to_utc(ns: np.ndarray, zone: str) -> np.ndarray:
    """int64[n]: the wall clock of a zone, as ns since 1970, -> UTC epoch ns; in a repeated hour the earlier reading."""
    if zone == SHANGHAI:
        shanghai: np.ndarray = ns - SHANGHAI_OFFSET_NS
        return shanghai
    stamps = pa.array(ns, pa.int64()).cast(pa.timestamp("ns"))
    zoned = pc.assume_timezone(stamps, zone, ambiguous="earliest", nonexistent="earliest")
    utc: np.ndarray = zoned.cast(pa.int64()).to_numpy(zero_copy_only=False)
    return utc


def rows_in_sessions(ns: np.ndarray, variety: Variety, calendar: TradingCalendar) -> int:
    """How many moments lie in a session of the variety, or within five minutes of one.

    Parameters
    ----------
    ns : int64[n]
        UTC epoch ns.
    """
    inside = 0
    try:
        days, counts = np.unique(calendar.trading_day_of(ns), return_inverse=True)
    except UsageError:  # beyond the holiday list: whoever asks for the day itself says so
        return 0
    for number, day in enumerate(days.tolist()):
        if not calendar.is_trading_day(day):
            continue
        at = ns[counts == number]
        bounds = [(start - _SLACK_NS, end + _SLACK_NS) for start, end in calendar.sessions(variety, day)]
        inside += int(np.logical_or.reduce([(at >= start) & (at < end) for start, end in bounds]).sum())
    return inside


def utc_times(moments: Moments, variety: Variety, calendar: TradingCalendar, zone: str | None, name: str) -> np.ndarray:
    """UTC epoch ns of one contract's rows.

    Parameters
    ----------
    moments : Moments
        Of that contract's rows alone.
    variety : Variety
        Whose sessions a reading is held against.
    calendar : TradingCalendar
    zone : str, optional
        What the user says of times without a zone.
    name : str
        What errors call the file.

    Returns
    -------
    int64[n]

    Raises
    ------
    BadRecordingError
        The times fit no session as they would be read, so that nobody can say which zone they are in.
    """
    if moments.clock is Clock.ZONED or not moments.ns.size:
        return moments.ns
    readings = {"UTC": moments.ns, SHANGHAI: local_to_utc(moments.ns, SHANGHAI)}
    if zone is not None:
        readings.setdefault(zone, local_to_utc(moments.ns, zone))
    usual = "UTC" if moments.clock is Clock.EPOCH else SHANGHAI
    fits = {each: rows_in_sessions(ns, variety, calendar) / ns.size for each, ns in readings.items()}
    if zone is not None:
        if fits[zone] < _PLAUSIBLE <= fits[usual]:
            raise _no_fit(moments, name, variety, zone, fits, f"leave out --time-zone: as {usual} they fit")
        return readings[zone]
    other = max(fits, key=lambda each: fits[each])
    doubted = fits[usual] < _PLAUSIBLE or fits[other] - fits[usual] > _CLEARLY
    if not doubted or (moments.clock is Clock.EPOCH and fits[other] < _PLAUSIBLE):
        return readings[usual]
    fitting = other if fits[other] >= _PLAUSIBLE else "NAME"
    # That another zone fits proves nothing: 02:00 may be a clock of UTC, or a row from after the night's end.
    raise _no_fit(
        moments, name, variety, usual, fits,
        f"say which zone its clock shows: --time-zone {fitting} where it is another one; --time-zone {usual} takes it "
        "as it was read, rows outside of the sessions included",
    )  # fmt: skip


def _no_fit(
    moments: Moments, name: str, variety: Variety, read_as: str, fits: dict[str, float], hint: str
) -> BadRecordingError:
    others = "".join(f", as {zone} {share:.0%}" for zone, share in fits.items() if zone != read_as)
    return BadRecordingError(
        f"{name}, column {moments.column}: the times do not say their zone; read as {read_as}, {fits[read_as]:.0%} of "
        f"the rows lie in a session of {variety.key}{others}",
        hint,
    )
