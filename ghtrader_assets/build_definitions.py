"""Puts the definitions together: assets, checks, jobs, schedules and the resources they need.

Nothing is asked of a network here, and no file is written.
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from ghtrader_assets.assets.benchmark_and_promotion import champion
from ghtrader_assets.assets.datasets import datasets
from ghtrader_assets.assets.main_series import main_l5, main_schedule
from ghtrader_assets.assets.market import contracts, daily_bars, raw_ticks, trading_calendar
from ghtrader_assets.assets.model_families import family_assets, joint_report_sensor
from ghtrader_assets.checks import ALL_CHECKS
from ghtrader_assets.jobs.compare_families import compare_families
from ghtrader_assets.jobs.daily_update import daily_update
from ghtrader_assets.jobs.download_contract import download_contract
from ghtrader_assets.jobs.import_recordings import import_recordings_job
from ghtrader_assets.jobs.one_contract import CONTRACT_JOBS
from ghtrader_assets.jobs.sweep import sweep
from ghtrader_assets.jobs.update_variety import update_variety
from ghtrader_assets.resources.resources import HomeResource, SourceResource
from ghtrader_assets.schedules import daily_update_schedule

MARKET_ASSETS = [trading_calendar, contracts, daily_bars, main_schedule, raw_ticks, main_l5]


def build_defs(*, resource_overrides: Mapping[str, Any] | None = None) -> dg.Definitions:
    """The pipeline.

    Parameters
    ----------
    resource_overrides : mapping, optional
        Resources by name in place of ours: `home` (`HomeResource`), `source` (`SourceResource`).
    """
    resources: dict[str, Any] = {
        "home": HomeResource(),
        "source": SourceResource(),
        # Assets hand each other nothing but what lies in the home; the default takes a folder from the run's config.
        "io_manager": dg.mem_io_manager,
        **(resource_overrides or {}),
    }
    return dg.Definitions(
        assets=[*MARKET_ASSETS, datasets, *family_assets(), champion],
        asset_checks=ALL_CHECKS,
        jobs=[
            download_contract, update_variety, *CONTRACT_JOBS, import_recordings_job, sweep, daily_update,
            compare_families,
        ],  # fmt: skip
        schedules=[daily_update_schedule],
        sensors=[joint_report_sensor],
        resources=resources,
        executor=dg.in_process_executor,
    )
