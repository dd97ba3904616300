"""Defines the jobs over one contract's own ticks: build, train, benchmark.

They call the same functions as the assets of the main series. One contract is not a whole day of a variety, so these
report observations and never mark a partition as done.
"""

from typing import Any

import dagster as dg

from ghtrader_assets.assets.benchmark_and_promotion import benchmark_series
from ghtrader_assets.assets.datasets import BuildConfig, build_series, metadata_of
from ghtrader_assets.assets.family_config import BenchmarkConfig, TrainConfig
from ghtrader_assets.assets.models import train_series
from ghtrader_assets.partitions import PARTITIONS, day_key, horizon_key
from ghtrader_assets.resources.resources import HomeResource
from ghtrader_assets.runs.errors import guarded
from ghtrader_market.reference.varieties import variety_of
from ghtrader_models.families.table import usual_families


class BuildContractConfig(BuildConfig):
    """One contract and its trading days (YYYY-MM-DD, inclusive), and what is built."""

    symbol: str
    start: str
    end: str


class TrainContractConfig(TrainConfig):
    """One contract, the family and the horizon, and what the model learns from."""

    symbol: str
    family: str
    horizon: int


class BenchmarkContractConfig(BenchmarkConfig):
    """One contract and the horizon, and what is compared.

    `families`: empty for the usual ones of `families.table`; `settings`: family name -> fields of its configuration.
    """

    symbol: str
    horizon: int
    families: list[str] = []
    settings: dict[str, dict[str, Any]] = {}


@dg.op
@guarded
def build_one_contract(context: dg.OpExecutionContext, config: BuildContractConfig, home: HomeResource) -> None:
    """Features and labels of the contract's days that are here, day by day."""
    variety = variety_of(config.symbol).key
    days = [day for day in home.lake.days("ticks", config.symbol) if config.start <= str(day) <= config.end]
    report = build_series(home, config.symbol, "ticks", days, config, context.run_id)
    for day, built in sorted(report.built.items()):
        for asset, metadata in metadata_of(config.factor_set, config.symbol, day, built).items():
            found = {"symbol": config.symbol, **metadata}
            context.log_event(dg.AssetObservation(asset, partition=day_key(day, variety), metadata=found))
    report.raise_if_failed()


@dg.op
@guarded
def train_one_contract(context: dg.OpExecutionContext, config: TrainContractConfig, home: HomeResource) -> None:
    """One family on the contract's built days, as a bundle like any other."""
    found = train_series(home, config.symbol, config.family, config.horizon, config, context.run_id)
    _observe(context, f"model_{config.family}", config.symbol, config.horizon, found)


@dg.op
@guarded
def benchmark_one_contract(context: dg.OpExecutionContext, config: BenchmarkContractConfig, home: HomeResource) -> None:
    """Walk-forward reports of some families on the contract's built days."""
    wanted = {family: config.settings.get(family, {}) for family in config.families or usual_families()}
    found = benchmark_series(home, config.symbol, config.horizon, wanted, config, context.run_id)
    _observe(context, "benchmark_report", config.symbol, config.horizon, found)


def _observe(context: dg.OpExecutionContext, asset: str, symbol: str, horizon: int, found: dict[str, Any]) -> None:
    partition = horizon_key(horizon, variety_of(symbol).key) if horizon in PARTITIONS.horizon_ticks else None
    context.log_event(dg.AssetObservation(asset, partition=partition, metadata={"symbol": symbol, **found}))


@dg.job(description="Features and labels of one contract's own ticks. Reports observations, no materialization.")
def build_contract() -> None:
    """Entry of `ghtrader build --symbol SHFE.cu2502 --ticks-kind raw`."""
    build_one_contract()


@dg.job(description="A model of one contract's own ticks. Reports an observation, no materialization.")
def train_contract() -> None:
    """Entry of `ghtrader train --symbol SHFE.cu2502 --ticks-kind raw`."""
    train_one_contract()


@dg.job(description="Walk-forward reports on one contract's own ticks. Reports an observation, no materialization.")
def benchmark_contract() -> None:
    """Entry of `ghtrader benchmark --symbol SHFE.cu2502 --ticks-kind raw`."""
    benchmark_one_contract()


CONTRACT_JOBS = [build_contract, train_contract, benchmark_contract]
