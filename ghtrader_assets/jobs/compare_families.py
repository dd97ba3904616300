"""Defines the job that puts the walk-forward reports of several families side by side.

It fits nothing: `runs.compare` makes what is missing before. It reports an observation, no materialization.
"""

from typing import Any

import dagster as dg

from ghtrader_assets.partitions import PARTITIONS, horizon_key
from ghtrader_assets.resources.progress import png_bytes_markdown, say
from ghtrader_assets.resources.resources import HomeResource
from ghtrader_assets.results.comparison_store import PAGE, WantedTests, compare_stored, save_comparison
from ghtrader_assets.run_config import RunConfig
from ghtrader_assets.runs.errors import guarded
from ghtrader_market.reference.varieties import variety_of


class CompareConfig(RunConfig):
    """The series and families, what their reports must be of (tests, size, settings, seed), and which failed before.

    `settings`: family -> fields of its configuration that differ from the preset's. `until_ns`: where the rows end that
    the candidates learned from.
    """

    symbol: str
    horizon: int
    families: list[str]
    splits_hash: str
    data_hash: str
    preset: str = "small"
    settings: dict[str, dict[str, Any]] = {}
    seed: int = 0
    until_ns: int | None = None
    failed: dict[str, str] = {}


@dg.op
@guarded
def join_families(context: dg.OpExecutionContext, config: CompareConfig, home: HomeResource) -> None:
    """Measure the latency of each family's bundle, write table and page, log them to MLflow."""
    from ghtrader_models.evaluation.comparison_page import front_figure
    from ghtrader_models.registry.mlflow_tracking import Tracker

    wanted = WantedTests(
        splits_hash=config.splits_hash,
        data_hash=config.data_hash,
        latency_ms=home.settings.risk_latency_ms,
        max_order=home.settings.risk_max_order,
        preset=config.preset,
        changes=config.settings,
        seed=config.seed,
        until_ns=config.until_ns,
    )
    say(f"{config.symbol} at horizon {config.horizon}: {', '.join(config.families)} side by side")
    found = compare_stored(home.settings, config.symbol, config.horizon, config.families, wanted, config.failed)
    folder = save_comparison(home.settings, found)
    partition = None
    if config.horizon in PARTITIONS.horizon_ticks:
        partition = horizon_key(config.horizon, variety_of(config.symbol).key)
    tags = {"dagster.run_id": context.run_id, **({} if partition is None else {"dagster.partition": partition})}
    figure = front_figure(found)
    run = Tracker(home.settings).log_comparison(
        found, tags=tags, artifacts={PAGE: (folder / PAGE).read_bytes(), "loss_against_latency.png": figure}
    )
    metadata: dict[str, Any] = {
        "symbol": found.symbol,
        "families": [model.family for model in found.models],
        "splits_hash": found.splits_hash,
        "origin": found.origin,
        "failed": [f"{family}: {why}" for family, why in found.failed.items()],
        "page": str((folder / PAGE).relative_to(home.settings.home)),
        "mlflow_run": run,
        "plot": png_bytes_markdown(figure, f"{found.symbol} {found.horizon}"),
    }
    context.log_event(dg.AssetObservation("benchmark_report", partition=partition, metadata=metadata))


@dg.job(description="Several families on the same tests: table, page and figure. Reports an observation.")
def compare_families() -> None:
    """Last step of `ghtrader compare`."""
    join_families()
