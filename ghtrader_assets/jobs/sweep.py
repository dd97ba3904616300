"""Defines the job that searches for a family's settings on walk-forward splits.

It makes no model: it reports an observation of the family's `model_` asset, and marks no partition as done.
"""

import dataclasses
import math
import time
from typing import Any

import dagster as dg
import msgspec

from ghtrader_assets.partitions import PARTITIONS, horizon_key
from ghtrader_assets.resources.progress import png_bytes_markdown, say
from ghtrader_assets.resources.resources import HomeResource
from ghtrader_assets.results.built_days import built_days
from ghtrader_assets.results.sweeps_store import save_sweep
from ghtrader_assets.run_config import RunConfig
from ghtrader_assets.runs.errors import guarded
from ghtrader_base.errors import FailedError, UsageError
from ghtrader_base.lock_keys import sweep_key
from ghtrader_base.progress_line import CountedLine
from ghtrader_base.version import code_version
from ghtrader_market.ingest.report import clock
from ghtrader_market.reference.tick_origin import origins_of, words_of
from ghtrader_market.reference.varieties import variety_of


class SweepConfig(RunConfig):
    """What is searched, and on what.

    `symbol`: a main series or one contract. `space`: as a space file has it (`search`, `fixed`, `preset`). `trials`:
    how many are wanted, with those that were made before. `workers`: trials at once, 0 for one a core. `row_limit_us`:
    median time of a row at the most, 0 for none. `caution`: standard errors taken off the mean gain. `start`, `end`:
    trading days, empty for all that are built. `splits`: fields of `SplitOptions`. `mix`: take days of different
    markets together.
    """

    symbol: str
    family: str
    horizon: int
    space: dict[str, Any]
    trials: int = 20
    workers: int = 0
    row_limit_us: float = 0.0
    caution: float = 1.0
    seed: int = 0
    start: str = ""
    end: str = ""
    splits: dict[str, Any] = {}
    mix: bool = False


def _trials_line(done: int, wanted: int, best: float | None, seconds: float) -> CountedLine:
    """How far a sweep is; `best` is the objective of the best trial so far, `seconds` since the start."""
    words = [f"{done}/{wanted} trials"]
    words += [] if best is None else [f"best {best:+.5f} nats"]
    words += [f"{clock(seconds * (wanted - done) / done)} left"] if 0 < done < wanted else []
    return CountedLine(", ".join(words), done, wanted)


@dg.op
@guarded
def search_settings(context: dg.OpExecutionContext, config: SweepConfig, home: HomeResource) -> None:
    """Trials on walk-forward splits, kept in a study that resumes; a parent run in MLflow and a child for each."""
    found = sweep_series(home, config, context.run_id)
    key = horizon_key(config.horizon, variety_of(config.symbol).key)
    partition = key if config.horizon in PARTITIONS.horizon_ticks else None
    context.log_event(dg.AssetObservation(f"model_{config.family}", partition=partition, metadata=found))


def sweep_series(home: HomeResource, config: SweepConfig, run_id: str) -> dict[str, Any]:
    """Search on the built days of one series, keep and log what was found, and say it."""
    from ghtrader_models.bundles.provenance import data_hash
    from ghtrader_models.evaluation.splits import SplitOptions
    from ghtrader_models.families.base import get_family
    from ghtrader_models.registry.mlflow_tracking import Tracker
    from ghtrader_models.registry.sweep_runs import SweepRuns
    from ghtrader_models.sweep.report import SweepReport
    from ghtrader_models.sweep.search import SweepTask, load_task_data, open_store, search, usual_workers
    from ghtrader_models.sweep.space import of_document
    from ghtrader_models.sweep.study import study_name
    from ghtrader_models.sweep.trials import TrialEnd, TrialRow, best_first, tried

    settings, symbol, family = home.settings, config.symbol, config.family
    if config.trials < 1 or config.workers < 0 or config.row_limit_us < 0 or config.caution < 0:
        raise UsageError("a sweep has one trial at least, and no negative workers, limit or caution", "correct them")
    space = of_document(config.space, get_family(family))
    days = tuple(built_days(home.lake, symbol, config.start, config.end))
    limit = config.row_limit_us or None
    task = SweepTask(
        home=str(settings.home), symbol=symbol, family=family, horizon=config.horizon, days=days, space=space, study="",
        trials=config.trials, seed=config.seed, caution=config.caution, row_limit_us=limit,
        splits=SplitOptions.from_dict(config.splits),
        mix=config.mix or settings.mix_origins,
    )  # fmt: skip
    dataset, plan = load_task_data(settings, task)
    for left_out in dataset.left_out:
        say(f"{symbol}: left out {left_out}")
    facts = data_hash(dataset.facts)
    name = study_name(
        symbol, config.horizon, family, space.to_dict(), facts, plan.splits_hash, config.seed, config.caution, limit
    )
    task = dataclasses.replace(task, study=name, days=dataset.days)
    workers = config.workers or usual_workers(family, config.trials, 4 * math.prod(dataset.X.shape))
    say(f"{symbol}: {plan.words}; study {name}, {workers} at once")
    origin = words_of(origins_of(fact.origin for fact in dataset.facts))
    tags = {
        "ghtrader.family": family,
        "ghtrader.horizon": str(config.horizon),
        "ghtrader.origin": origin,
        "splits_hash": plan.splits_hash,
        "dagster.run_id": run_id,
        "dagster.partition": horizon_key(config.horizon, variety_of(symbol).key),
    }
    data = (dataset, plan) if workers == 1 else None
    del dataset  # workers have their own
    started = time.monotonic()
    with home.lock(sweep_key(name), f"sweep of {family}", run_id):
        runs = SweepRuns(
            Tracker(settings), symbol, name, tags=tags,
            params={
                "family": family, "horizon": str(config.horizon), "seed": str(config.seed),
                "space": msgspec.json.encode(space).decode(),
            },
        )  # fmt: skip

        def each(rows: list[TrialRow]) -> None:
            runs.log_trials(rows)
            done = sum(row.end in (TrialEnd.COMPLETE, TrialEnd.PRUNED, TrialEnd.FAILED) for row in rows)
            best = next(iter(best_first(rows)), None)
            say(_trials_line(done, config.trials, best.objective if best else None, time.monotonic() - started))

        try:
            rows = search(settings, task, data, workers=workers, each=each)
        except BaseException:
            runs.fail()
            raise
        report = SweepReport(
            family=family, symbol=symbol, horizon=config.horizon, seed=config.seed, study=name, space=space,
            caution=config.caution, row_limit_us=limit, days=list(task.days), origin=origin, data_hash=facts,
            splits_hash=plan.splits_hash, splits=plan.words, wanted=config.trials, tried=tried(rows), trials=rows,
            importance=open_store(settings, task).importance(), run_id=run_id, code_version=code_version(),
        )  # fmt: skip
        path = save_sweep(settings, report)
        runs.log_trials(rows)
        runs.close(report)
    if report.best is None:
        reasons = [row.error for row in rows if row.error]
        why = reasons[0] if reasons else "no trial was scored on every split and fast enough"
        raise FailedError(f"none of {len(rows)} trials can be used: {why}", "widen the space, or the row limit")
    best = report.best
    return {
        "symbol": symbol,
        "study": name,
        "tried": report.tried,
        **{f"trials {end}": count for end, count in report.ends.items()},
        "best trial": best.number,
        "best objective": round(best.objective or 0.0, 6),
        "best gain": round(best.mean or 0.0, 6),
        "best settings": report.train_settings(),
        "train": report.train_command(),
        "report": str(path.relative_to(settings.home)),
        "splits": plan.words,
        "splits_hash": plan.splits_hash,
        "origin": origin,
        **({"plot": png_bytes_markdown(report.picture(), name)} if report.importance else {}),
    }


@dg.job(description="Searches for settings of a family on walk-forward splits. Reports an observation of its model.")
def sweep() -> None:
    """Entry of `ghtrader sweep`."""
    search_settings()
