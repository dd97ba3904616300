"""Stores roll schedules in QuestDB: one row a variety and trading day, under the hash of the schedule up to it.

A schedule that is only longer adds rows; one that changed adds its changed days beside the old ones and names them
active. Readers join the active builds, so a whole schedule comes back as it was kept last.
"""

from __future__ import annotations

from datetime import date

import numpy as np

from ghtrader_base.errors import FailedError
from ghtrader_base.failpoints import failpoint
from ghtrader_market.reference.roll_schedule import RollSchedule, ScheduleDay
from ghtrader_market.stores.questdb.builds import Build, activate, active_builds, require_key
from ghtrader_market.stores.questdb.client import QuestDbClient
from ghtrader_market.stores.questdb.schema import MAIN_SCHEDULE

DATASET = "schedule"
_NEXT = "next"
"""Stands for the trading day of the contract that is main after the last day."""


class ScheduleTable:
    """Roll schedules in a QuestDB server."""

    def __init__(self, client: QuestDbClient) -> None:
        self._client = client

    def write(self, schedule: RollSchedule, run_id: str = "", *, anew: bool = False) -> int:
        """Make a schedule the one in force; returns how many of its days were written.

        Those that are new or changed; with `anew` all of them, also over rows that somebody changed in the server.
        """
        active = active_builds(self._client, DATASET, schedule.variety)
        wanted = {day.day.isoformat(): day for day in schedule.days}
        ids = {name: day.schedule_hash for name, day in wanted.items()}
        if schedule.next_contract is not None:
            last = schedule.days[-1] if schedule.days else None
            ids[_NEXT] = f"{last.schedule_hash if last else ''}-{schedule.next_contract}"
        gone = {name for name, build in active.items() if build.build_id} - set(ids)
        changed = [
            name for name, build_id in ids.items() if anew or name not in active or active[name].build_id != build_id
        ]
        if not changed and not gone:
            return 0
        if changed:
            self._send(schedule, [(name, wanted.get(name), ids[name]) for name in changed])
            failpoint("questdb.schedule->activation")
        builds = {}
        for name in [*changed, *sorted(gone)]:
            number = active[name].activation + 1 if name in active else 0
            builds[name] = Build(
                build_id=ids.get(name, ""),
                activation=number,
                first_seq=0,
                rows=1 if name in ids else 0,
                content_hash="",
                source="roll",
                run_id=run_id,
            )
        activate(self._client, DATASET, schedule.variety, builds)
        return len(changed) + len(gone)

    def read(self, variety: str) -> RollSchedule:
        """The schedule in force; `FailedError` where there is none."""
        active = active_builds(self._client, DATASET, variety)
        ids = {(name, build.build_id) for name, build in active.items() if build.build_id}
        if not ids:
            raise FailedError(
                f"QuestDB has no roll schedule of {variety}", "`ghtrader db serve-sync` brings the lake's over"
            )
        rows = self._client.sql(
            "SELECT trading_day, build_id, underlying_contract, segment_id, schedule_hash, declared "
            f"FROM {MAIN_SCHEDULE} WHERE variety = '{require_key(variety)}'"
        )
        days, following = [], None
        for name, build_id, contract, segment, schedule_hash, declared in rows:
            if (name, build_id) not in ids:
                continue
            if name == _NEXT:
                following = contract
            else:
                day = date.fromisoformat(name)
                days.append(ScheduleDay(day, contract, int(segment), schedule_hash, bool(declared)))
        return RollSchedule(variety, tuple(sorted(days, key=lambda day: day.day)), following)

    def varieties(self) -> list[str]:
        """Varieties that have a schedule."""
        rows = self._client.sql(f"SELECT DISTINCT variety FROM {MAIN_SCHEDULE}")
        return sorted(row[0] for row in rows)

    def _send(self, schedule: RollSchedule, rows: list[tuple[str, ScheduleDay | None, str]]) -> None:
        import pandas as pd

        last = schedule.days[-1].day if schedule.days else date(1970, 1, 1)
        frame = pd.DataFrame(
            {
                "ts": np.array([day.day if day else last for _, day, _ in rows], dtype="datetime64[ns]"),
                "variety": schedule.variety,
                "trading_day": [name for name, _, _ in rows],
                "build_id": [build_id for _, _, build_id in rows],
                "underlying_contract": [day.contract if day else schedule.next_contract for _, day, _ in rows],
                "segment_id": np.array([day.segment_id if day else -1 for _, day, _ in rows], dtype=np.int32),
                "schedule_hash": [day.schedule_hash if day else "" for _, day, _ in rows],
                "declared": [day.declared if day else False for _, day, _ in rows],
            }
        )
        symbols = ["variety", "trading_day", "build_id", "underlying_contract", "schedule_hash"]
        for name in symbols:
            frame[name] = pd.Categorical(frame[name])
        self._client.send(MAIN_SCHEDULE, frame, symbols)
