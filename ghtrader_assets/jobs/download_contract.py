"""Defines the job that downloads one contract.

It reports observations: one contract is not a whole day of a variety, so it never marks a partition as done.
"""

from datetime import date

import dagster as dg

from ghtrader_assets.assets.tick_download import fetch_ticks, observe_days, require_none_skipped
from ghtrader_assets.resources.resources import HomeResource, SourceResource
from ghtrader_assets.run_config import RunConfig
from ghtrader_assets.runs.errors import guarded
from ghtrader_assets.runs.outcomes import together
from ghtrader_base.errors import FailedError
from ghtrader_market.reference.varieties import variety_of


class ContractConfig(RunConfig):
    """One contract and the trading days wanted (YYYY-MM-DD, inclusive)."""

    symbol: str
    start: str
    end: str
    workers: int = 1


@dg.op
@guarded
def fetch_contract(
    context: dg.OpExecutionContext, config: ContractConfig, home: HomeResource, source: SourceResource
) -> None:
    """Fetch the missing days of one symbol and report what is here now, day by day."""
    start, end = date.fromisoformat(config.start), date.fromisoformat(config.end)
    variety = variety_of(config.symbol).key
    days = home.calendar.require_days(start, end)
    report = fetch_ticks(home, source, [config.symbol], start, end, context.run_id, workers=config.workers)
    found, failed = observe_days(context, home, config.symbol, variety, days)
    require_none_skipped(report)
    if failed:
        raise together(failed, found)
    if not found:
        raise FailedError(
            f"the source has no tick of {config.symbol} between {start} and {end}",
            "choose days on which the contract was listed and that are over",
        )


@dg.job(description="Ticks of one contract. Reports observations of raw_ticks, never a materialization.")
def download_contract() -> None:
    """Entry of `ghtrader download --symbol`."""
    fetch_contract()
