"""Watches for a newly promoted champion and says when it takes over: never in mid-position.

Noticed by its pointer file, it is loaded and checked at once, and then waits: for the next trading day (DAY), or
until nothing is held, wanted or on its way (FLAT). KEEP never changes the model of a run.
"""

from __future__ import annotations

from pathlib import Path

from ghtrader_base.errors import GhtraderError
from ghtrader_base.trading_enums import RunMode, Succession
from ghtrader_models.bundles.bundle import Bundle
from ghtrader_models.bundles.champions import champion_path, load_champion_bundle
from ghtrader_runtime.accounts.live_gate import check_model
from ghtrader_runtime.strategy.signal_engine import matching_factor_set

LOOK_S = 2.0


class ChampionWatcher:
    """Watches the champion of one series.

    Parameters
    ----------
    models_dir, series, horizon
        Whose champion.
    way : Succession
    bundle_id : str
        The model that trades now.
    max_position : int
        Lots the gateway allows: a champion that wants more is not taken.
    mode, monitor_only
        Of the strategy: on a real account a champion of simulated ticks is not taken.
    """

    def __init__(
        self, models_dir: Path, series: str, horizon: int, way: Succession, bundle_id: str, max_position: int,
        *, mode: RunMode = RunMode.SIM, monitor_only: bool = False,
    ) -> None:  # fmt: skip
        self._models_dir, self._series, self._horizon = models_dir, series, horizon
        self._way, self._bundle_id, self._max_position = way, bundle_id, max_position
        self._mode, self._monitor_only = mode, monitor_only
        self._pointer = champion_path(models_dir, series, horizon)
        self._seen = self._stamp()
        self._next_look_s = 0.0
        self.waiting: Bundle | None = None
        self.refused = ""

    def _stamp(self) -> tuple[int, int] | None:
        try:
            found = self._pointer.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns

    def look(self, now_s: float) -> Bundle | None:
        """Look at the pointer, at most every `LOOK_S`; the new champion, where one was found just now.

        One that cannot be used is left alone; `refused` says why.
        """
        if self._way == Succession.KEEP or now_s < self._next_look_s:
            return None
        self._next_look_s = now_s + LOOK_S
        stamp = self._stamp()
        if stamp == self._seen:
            return None
        self._seen = stamp
        self.waiting, self.refused = None, ""
        try:
            bundle = load_champion_bundle(self._models_dir, self._series, self._horizon)
            matching_factor_set(bundle)
            check_model(bundle, self._mode, self._monitor_only)
        except GhtraderError as exc:
            self.refused = exc.message
            return None
        if bundle.policy.max_lots > self._max_position:
            self.refused = f"{bundle.bundle_id} wants {bundle.policy.max_lots} lots, {self._max_position} are allowed"
            return None
        if bundle.bundle_id == self._bundle_id:
            return None
        self.waiting = bundle
        return bundle

    def due(self, *, new_day: bool, flat: bool) -> Bundle | None:
        """The champion that takes over now, if one waits and its moment has come; asking consumes it."""
        if self.waiting is None or not (new_day or (self._way == Succession.FLAT and flat)):
            return None
        bundle, self.waiting = self.waiting, None
        self._bundle_id = bundle.bundle_id
        return bundle
