"""Tells in which session a moment lies: pure functions of times and session bounds.

The snapshot that ends a session is stamped with the session's very end (10:15, 11:30, 15:00, 01:00) or some hundred
milliseconds later and holds its last lots: it belongs to the session it ends. No order can be sent at such a moment;
whether one may is `ghtrader_runtime.core.risk_rules`' question. When the sessions are is `trading_calendar`'s.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

CLOSING_NS = 1_000_000_000
"""A snapshot of less than this after a session's end is the one that ends it."""
SESSION_RULE = 2
"""Which rows of a day lie in a session, as manifests number it: 1 (also where they name none) left out the snapshot
that ends a session, 2 has it."""


def closing_ns_of(rule: int | None) -> int:
    """Nanoseconds after its end that still belonged to a session under a rule; None is the first."""
    return CLOSING_NS if rule is not None and rule >= SESSION_RULE else 0


def session_index(ns: np.ndarray, sessions: Sequence[tuple[int, int]], closing_ns: int = CLOSING_NS) -> np.ndarray:
    """Which session each moment lies in.

    Parameters
    ----------
    ns : int64[n]
        UTC epoch ns, in any order.
    sessions : sequence of (start_ns, end_ns)
        In time order.
    closing_ns : int
        How long after a session's end a moment still belongs to it, where no other session has begun.

    Returns
    -------
    int16[n]
        Position in `sessions`; -1 outside all of them.
    """
    bounds = np.array(sessions, dtype=np.int64).reshape(-1, 2)
    if not len(bounds):
        return np.full(np.shape(ns), -1, np.int16)
    found = np.searchsorted(bounds[:, 0], ns, side="right") - 1
    inside = (found >= 0) & (np.asarray(ns) < bounds[np.maximum(found, 0), 1] + closing_ns)
    return np.where(inside, found, -1).astype(np.int16)


def in_sessions(ns: np.ndarray, sessions: Sequence[tuple[int, int]], closing_ns: int = CLOSING_NS) -> np.ndarray:
    """bool[n]: whether each moment lies in a session (parameters as `session_index`)."""
    inside: np.ndarray = session_index(ns, sessions, closing_ns) >= 0
    return inside


def factor_clock(ns: np.ndarray, sessions: Sequence[tuple[int, int]]) -> np.ndarray:
    """Times as factors read them: that of a snapshot that ends a session is the session's last moment.

    Factors of the session's age know no moment after its end.

    Parameters
    ----------
    ns : int64[n]
        UTC epoch ns of rows inside the sessions.
    sessions : sequence of (start_ns, end_ns)

    Returns
    -------
    int64[n]
        `ns` itself where no row ends a session.
    """
    index = session_index(ns, sessions)
    ends = np.array([end for _, end in sessions], np.int64)
    closing = np.flatnonzero(index >= 0)
    closing = closing[ns[closing] >= ends[index[closing]]]
    if not closing.size:
        return ns
    clock = np.array(ns, np.int64)
    clock[closing] = ends[index[closing]] - 1
    return clock


def factor_clock_at(ns: int, sessions: Sequence[tuple[int, int]]) -> int | None:
    """`factor_clock` of one moment; None where it lies in no session."""
    for start, end in reversed(sessions):
        if start <= ns:
            return min(ns, end - 1) if ns < end + CLOSING_NS else None
    return None


def session_silence_ns(sessions: Sequence[tuple[int, int]], last_ns: int, gone_ns: int) -> int:
    """For how long a tick has been due: time of the present session without one.

    Parameters
    ----------
    sessions : sequence of (start_ns, end_ns)
    last_ns : int
        Market time of the last tick.
    gone_ns : int
        Time since it came, by our clock.

    Returns
    -------
    int
        0 in a break, before the first session and after the last; from a session's start on it counts anew.
    """
    now_ns = last_ns + gone_ns
    for start, end in sessions:
        if start <= now_ns < end:
            return now_ns - max(start, last_ns)
    return 0
