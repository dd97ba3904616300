"""Runs the demo's second part: one real recorded day (CFFEX IF2101, one level) through the stages, then on paper.

Nothing here is simulated but the fills of the paper broker, which trades against the recorded book.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from ghtrader.demo.effort import JUDGED, Effort
from ghtrader.demo.pipeline_stages import build_days, judge_models, judged_facts
from ghtrader.demo.progress import Stages
from ghtrader.demo.report import PartReport, PipelineFacts, TradingFacts
from ghtrader.demo.trading_results import compare_with_batch, trading_facts
from ghtrader_base.settings import Settings, load_settings

VARIETY = "IF"
DAY = date(2021, 1, 4)
PACE = 300.0
"""Ticks a second of the second paper pass, which measures latency; the market printed two."""


@dataclass(frozen=True)
class RecordedHalf:
    """`part` is what the report tells; `folder` the lock-step run, `paced` the one at a pace."""

    part: PartReport
    folder: Path
    paced: Path


def run(home: Path, seed: int, stages: Stages, effort: Effort) -> RecordedHalf:
    """Run the second part in `home`."""
    from ghtrader_assets.runs import flows
    from ghtrader_market.reference.varieties import get_variety
    from ghtrader_market.samples import IF2101
    from ghtrader_market.stores.lake.lake import Lake
    from ghtrader_models.evaluation.splits import BLOCKS
    from ghtrader_runtime.replay.recorded_days import block_start_ns

    settings = load_settings(home)
    with stages.stage(f"real recording: {IF2101.name} imported, main_l5, factors of one level, labels"):
        flows.import_recordings(settings, [IF2101], variety=VARIETY, source="demo", progress=stages.detail)
        build_days(settings, VARIETY, [DAY], stages)
    last_block = block_start_ns(Lake(settings.data), get_variety(VARIETY).continuous_symbol, DAY, BLOCKS)
    judge_models(settings, VARIETY, seed, stages, effort, until_ns=last_block)
    facts = judged_facts(settings, VARIETY, [DAY], effort)
    trading, folder, paced = _paper(settings, facts, last_block, stages)
    kind = f"real, {facts.data.ticks:,} ticks of one day"
    return RecordedHalf(PartReport(kind=kind, simulated=False, pipeline=facts, trading=trading), folder, paced)


def _paper(
    settings: Settings, facts: PipelineFacts, last_block: int, stages: Stages
) -> tuple[TradingFacts, Path, Path]:
    """The better candidate over the last block, which it never saw: in lock-step, then at a pace for latency."""
    from ghtrader_runtime.replay.recorded_days import paper_day

    model = str(settings.models / "bundles" / facts.candidate)
    options: dict[str, Any] = {"model": model, "horizon": JUDGED, "from_ns": last_block}
    with stages.stage(
        f"paper over the last block with {facts.candidate_family}: lock-step, then {PACE:g} ticks a second"
    ):
        lock_step = paper_day(settings, VARIETY, DAY, account="demo-paper", **options)
        paced = paper_day(settings, VARIETY, DAY, account="demo-paced", pace=PACE, **options)
    assert lock_step.folder is not None and paced.folder is not None
    folder = lock_step.folder
    trading = replace(
        trading_facts(lock_step, None),
        tick_to_target_ms={**paced.tick_to_target_ms.to_json(), "pace_ticks_a_second": PACE},
        lock_step_ms=lock_step.tick_to_target_ms.to_json(),
        live_equals_batch=compare_with_batch(settings, VARIETY, DAY, folder),
    )
    return trading, folder, paced.folder
