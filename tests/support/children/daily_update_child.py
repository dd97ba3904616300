"""Runs the daily update in a process of its own, by its own clock, against an exchange whose last day is today.

`python daily_update_child.py FOLDER`: the exchange's clock is put to 17:30 of the last trading day that is over; what
was materialized and what the lake has of that day goes to stdout as JSON.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import datetime
from pathlib import Path

from ghtrader_exchange.client import ExchangeProcess
from ghtrader_exchange.world.scenario import Scenario
from ghtrader_market.reference.trading_calendar import SHANGHAI, bundled_calendar, last_finished_day


def main(folder: Path) -> None:
    """Run it and print what came of it."""
    calendar = bundled_calendar()
    today = last_finished_day(calendar)
    before = calendar.previous_day(today)
    start = calendar.previous_day(calendar.previous_day(before))
    evening = datetime(today.year, today.month, today.day, 17, 30, tzinfo=SHANGHAI)
    home = folder / "home"
    with ExchangeProcess(Scenario(start=start, end=before, snapshot_seconds=60.0), folder / "exchange") as exchange:
        exchange.control.set_clock(at_ns=int(evening.timestamp()) * 10**9)
        os.environ.update(exchange.env, GHTRADER_HOME=str(home), DAGSTER_HOME=str(home / "dagster"))
        os.environ.update(GHTRADER_DAILY_UPDATE_TARGETS="SHFE:cu", GHTRADER_MAX_PARALLEL_TQSDK_JOBS="1")
        import dagster as dg

        from ghtrader_assets.instance.instance import open_instance
        from ghtrader_assets.runs.execute import run_job
        from ghtrader_base.settings import load_settings
        from ghtrader_market.stores.lake.lake import Lake

        settings = load_settings(home)
        config = {"ops": {"update_targets": {"config": {"days": 2}}}}
        run_job(settings, "daily_update", run_config=config, source="schedule")
        with open_instance(settings) as instance:
            made = {
                name: sorted(instance.get_materialized_partitions(dg.AssetKey(name)))
                for name in ("raw_ticks", "main_l5", "features", "labels")
            }
        days = [str(day) for day in Lake(settings.data).days("features", "KQ.m@SHFE.cu")]
    print(json.dumps({"today": str(today), "before": str(before), "made": made, "features": days}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
