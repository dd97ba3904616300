"""The demo's second half: one real recorded day (CFFEX IF2101, one level) through the same stages, then on paper.

Nothing here is simulated but the fills of the paper broker, which trades against the recorded book.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from ghtrader.demo import scores
from ghtrader.demo.simulated import judge_models, read_decision
from ghtrader.demo.stage import Stages
from ghtrader.demo.trading import compare_with_batch, trading_facts
from ghtrader_base.settings import Settings, load_settings

VARIETY = "IF"
DAY = date(2021, 1, 4)
PACE = 150.0
"""Ticks a second of the second paper pass, which measures latency; the market printed two."""


@dataclass(frozen=True)
class RecordedHalf:
    """`facts` is `real` of report.json without a verdict; `folder` the lock-step run, `paced` the one at a pace."""

    facts: dict[str, Any]
    folder: Path
    paced: Path


def run(home: Path, seed: int, stages: Stages) -> RecordedHalf:
    """Play the second half in `home`."""
    from ghtrader_assets import flows
    from ghtrader_assets.pipeline import run_job
    from ghtrader_market.samples import IF2101
    from ghtrader_models.evaluation.splits import BLOCKS
    from ghtrader_runtime.paper import block_start_ns

    settings = load_settings(home)
    options = {"source": "demo", "progress": stages.detail}
    with stages.stage(f"real recording: {IF2101.name} imported, main_l5, factors of one level, labels"):
        config = {"ops": {"read_recordings": {"config": {"paths": [str(IF2101)], "variety": VARIETY}}}}
        run_job(settings, "import_recordings", run_config=config, **options)
        flows.update_schedule(settings, VARIETY, **options)
        flows.build_main(settings, VARIETY, DAY, DAY, **options)
        flows.build_datasets(settings, VARIETY, DAY, DAY, **options)
    from ghtrader_market.stores.lake import Lake
    from ghtrader_market.varieties import get_variety

    symbol = get_variety(VARIETY).continuous_symbol
    last_block = block_start_ns(Lake(settings.data), symbol, DAY, BLOCKS)
    judge_models(settings, VARIETY, seed, stages, until_ns=last_block)
    found = scores.collect(settings, VARIETY)
    decision = read_decision(settings, VARIETY)
    facts = scores.facts(settings, VARIETY, [DAY])
    facts["hashes"]["models"] = found["hash"]
    facts |= {
        "simulated": False,
        "models": found["models"],
        "tests": found["tests"],
        "walk_forward_net_pnl": found["pnl"],
        "champion": decision["bundle_id"] if decision["promoted"] else None,
        "refused_because": None if decision["promoted"] else decision["refused_because"],
        "candidate": decision["bundle_id"],
        "candidate_family": decision["family"],
    }
    facts["trading"], folder, paced = _paper(settings, decision, last_block, stages)
    return RecordedHalf(facts, folder, paced)


def _paper(
    settings: Settings, decision: dict[str, Any], last_block: int, stages: Stages
) -> tuple[dict[str, Any], Path, Path]:
    """The better candidate over the last block, which it never saw: in lock-step, then at a pace for latency."""
    from ghtrader_runtime.paper import paper_day

    model = str(settings.models / "bundles" / decision["bundle_id"])
    options = {"model": model, "horizon": scores.JUDGED, "from_ns": last_block}
    with stages.stage(f"paper over the last block with {decision['family']}: lock-step, then {PACE:g} ticks a second"):
        lock_step = paper_day(settings, VARIETY, DAY, account="demo-paper", **options)
        paced = paper_day(settings, VARIETY, DAY, account="demo-paced", pace=PACE, **options)
    folder = Path(lock_step["folder"])
    facts = trading_facts(lock_step, None)
    facts["tick_to_target_ms"] = {**paced["tick_to_target_ms"], "pace_ticks_a_second": PACE}
    facts["lock_step_ms"] = lock_step["tick_to_target_ms"]
    facts["live_equals_batch"] = compare_with_batch(settings, VARIETY, DAY, folder)
    return facts, folder, Path(paced["folder"])
