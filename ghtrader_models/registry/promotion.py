"""Decides whether a candidate may become champion, says why, and promotes it.

What belongs here: the decision, with reasons a person can read, and the promotion itself. The pointer file is
in `champions`; the numbers come from `evaluation.benchmark`.

The gate asks for an edge that chance does not explain: the lower bound of the 95 % interval of the log-loss gain over
the training prior, over test days or blocks, must be above zero at the traded horizon. PnL is reported and decides
nothing yet: a day's PnL is too noisy to decide on in a few days.

A gain that no honest model has is questioned: where the model knows more than half of what there is to know, its labels
or factors are the likelier reason. A person who knows better says so (`GateConfig.max_gain_share`).

Failpoint: ``promote.pointer->alias``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ghtrader_base.errors import RefusedError, UsageError
from ghtrader_base.failpoints import failpoint
from ghtrader_models.bundles.bundle import Bundle
from ghtrader_models.bundles.champions import (
    Champion,
    GateEvidence,
    champion_path,
    load_champion,
    load_champion_bundle,
    read_history,
    write_champion,
)
from ghtrader_models.datasets.leakage import LeakageReport
from ghtrader_models.evaluation.comparison import bounds_of_values, level_of_many
from ghtrader_models.evaluation.report_types import SimulatedTrading
from ghtrader_models.model_scores import GainInterval, ModelScores

if TYPE_CHECKING:
    from ghtrader_models.registry.mlflow_tracking import Tracker

__all__ = [
    "Champion",
    "Decision",
    "GateConfig",
    "champion_path",
    "choose",
    "judge",
    "load_champion",
    "load_champion_bundle",
    "promote",
    "read_history",
]


ReportT = TypeVar("ReportT", bound="Scored")


@dataclass(frozen=True)
class GateConfig:
    """What a candidate must show.

    Parameters
    ----------
    horizon : int
        The horizon that is judged and traded, ticks; others are reported only.
    min_tests : int
        Test days or blocks the interval must rest on, at least 2.
    min_gain : float
        Nats that the lower bound of the log-loss gain must exceed.
    max_gain_share : float
        Part of the prior's log-loss that the gain may be at most; 1 lets any gain pass.
    """

    horizon: int = 50
    min_tests: int = 4
    min_gain: float = 0.0
    max_gain_share: float = 0.5


@dataclass(frozen=True)
class Decision:
    """What the gate said.

    Attributes
    ----------
    promoted : bool
        Whether the candidate may take the place.
    reasons : tuple of str
        Sentences: every rule with its numbers, in the order they were asked.
    refused_because : str or None
        The first rule that failed.
    evidence : GateEvidence
        The numbers the decision rests on; kept with the champion.
    """

    promoted: bool
    reasons: tuple[str, ...]
    refused_because: str | None
    evidence: GateEvidence

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {
            "promoted": self.promoted,
            "reasons": list(self.reasons),
            "refused_because": self.refused_because,
            "evidence": self.evidence.to_dict(),
        }


class Scored(Protocol):
    """What the gate needs of a walk-forward report: a `BenchmarkReport`, or one read back from its file."""

    @property
    def family(self) -> str: ...

    @property
    def horizon(self) -> int: ...

    @property
    def model(self) -> ModelScores: ...

    @property
    def baselines(self) -> Mapping[str, ModelScores]: ...

    @property
    def simulation(self) -> SimulatedTrading | None: ...

    @property
    def tests_hash(self) -> str: ...

    @property
    def metrics_hash(self) -> str | None: ...


def judge(
    report: Scored,
    champion: Champion | None = None,
    config: GateConfig | None = None,
    leakage: LeakageReport | None = None,
    looks: int = 1,
) -> Decision:
    """Ask every rule.

    Parameters
    ----------
    report : Scored
        The candidate's walk-forward scores.
    champion : Champion, optional
        Who holds the place now. It is compared where both were scored on the same test rows; else it gives way to a
        candidate that passes, because its own numbers speak of other days.
    config : GateConfig, optional
        Thresholds.
    leakage : LeakageReport, optional
        What cutting the candidate's days showed (`datasets.leakage`); not asked where absent.
    looks : int
        How many families and settings were scored on these tests before the best of them was taken; of more than one
        the interval that allows for them is told.

    Raises
    ------
    UsageError
        The candidate gives no probabilities, hence has no log-loss gain.
    """
    config = config or GateConfig()
    gain, name = report.model.gain, f"{report.family} at horizon {report.horizon}"
    earned = None if report.simulation is None else report.simulation.net_pnl
    evidence = GateEvidence(
        family=report.family,
        horizon=report.horizon,
        logloss_gain=gain,
        tests_hash=report.tests_hash,
        metrics_hash=report.metrics_hash,
        simulated_net_pnl=earned,
    )
    rules = [
        _right_horizon(report.horizon, config),
        _tests_enough(gain, config),
        _edge_is_real(name, gain, config),
        _edge_is_believable(name, gain, report.baselines.get("prior"), config),
        *([] if leakage is None else [(leakage.ok, leakage.words)]),
        _not_worse_than_champion(name, evidence, champion),
    ]
    if looks > 1:
        rules.append((True, _best_of_many(name, gain, looks)))
    if earned is not None:
        rules.append((True, f"Simulated over the same tests it earned {earned:.0f} CNY net; this decides nothing."))
    failed = [sentence for passed, sentence in rules if not passed]
    return Decision(not failed, tuple(s for _, s in rules), failed[0] if failed else None, evidence)


def choose(reports: Sequence[ReportT]) -> ReportT:
    """The report with the largest mean log-loss gain: the candidate; the first of equals."""
    if not reports:
        raise UsageError("no report to choose from", "run a benchmark first")
    if len({report.tests_hash for report in reports}) > 1:
        raise UsageError("these reports were scored on different test rows", "run them on the same splits")
    return max(reports, key=lambda report: report.model.gain.mean)


def promote(
    models_dir: Path, bundle: Bundle, decision: Decision, *, tracker: Tracker | None = None, run_id: str = ""
) -> Champion:
    """Make the bundle champion: history line and pointer on disk first, then MLflow's alias.

    Parameters
    ----------
    models_dir : Path
        `Settings.models`.
    bundle : Bundle
        The candidate.
    decision : Decision
        The gate's word on it.
    tracker : Tracker, optional
        Where the bundle was registered; its version gets the alias ``champion``.
    run_id : str
        Kept with the pointer.

    Raises
    ------
    RefusedError
        The gate refused.
    UsageError
        The decision is about another family or horizon than the bundle.
    """
    if not decision.promoted:
        raise RefusedError(f"not promoted: {decision.refused_because}", "train on more days or better factors")
    about = (decision.evidence.family, decision.evidence.horizon)
    if about != (bundle.kind, bundle.horizon):
        raise UsageError(
            f"the decision is about {about[0]} at horizon {about[1]}, "
            f"the bundle is {bundle.kind} at horizon {bundle.horizon}"
        )
    champion = write_champion(
        models_dir, bundle, reason=" ".join(decision.reasons), evidence=decision.evidence, run_id=run_id
    )
    failpoint("promote.pointer->alias")
    if tracker is not None:
        tracker.set_alias(bundle, "champion")
    return champion


def _right_horizon(horizon: int, config: GateConfig) -> tuple[bool, str]:
    if horizon == config.horizon:
        return True, f"Horizon {horizon} is the one that is traded."
    return False, f"Horizon {horizon} is reported only; horizon {config.horizon} is the one that is traded."


def _tests_enough(gain: GainInterval, config: GateConfig) -> tuple[bool, str]:
    needed = max(2, config.min_tests)
    if gain.n >= needed:
        return True, f"The interval rests on {gain.n} tests."
    return False, f"The interval rests on {gain.n} tests, {needed} are needed."


def _edge_is_real(name: str, gain: GainInterval, config: GateConfig) -> tuple[bool, str]:
    if gain.low is None or gain.high is None:
        return False, f"The log-loss gain of {name} has no interval."
    numbers = (
        f"The log-loss gain of {name} over the training prior is {gain.mean:+.5f} nats, "
        f"95 % interval {gain.low:+.5f} to {gain.high:+.5f}"
    )
    if gain.low > config.min_gain:
        return True, f"{numbers}: above {config.min_gain:g}."
    return False, f"{numbers}: not above {config.min_gain:g}, so chance explains it."


def _best_of_many(name: str, gain: GainInterval, looks: int) -> str:
    found = bounds_of_values(gain.per_split, level_of_many(looks))
    if found.low is None or found.high is None:
        return f"{name} is the best of {looks} that were scored on these tests."
    holds = "above" if found.low > 0 else "not above"
    return (
        f"{name} is the best of {looks} that were scored on these tests: the interval that holds for all of them at "
        f"once is {found.low:+.5f} to {found.high:+.5f}, {holds} 0; this decides nothing."
    )


def _edge_is_believable(
    name: str, gain: GainInterval, prior: ModelScores | None, config: GateConfig
) -> tuple[bool, str]:
    if prior is None or prior.logloss is None or not prior.logloss.mean > 0:
        return True, f"The gain of {name} was not held against the prior, which has no log-loss."
    share = gain.mean / prior.logloss.mean
    numbers = f"That is {share:.0%} of the prior's log-loss of {prior.logloss.mean:.5f} nats"
    if share <= config.max_gain_share:
        return True, f"{numbers}, at most {config.max_gain_share:.0%} is believed."
    return False, (
        f"{numbers}, more than {config.max_gain_share:.0%}: no honest model knows so much, so look for labels or "
        f"factors that {name} should not know. To promote it all the same, materialize champion with "
        "accept_large_gain: true."
    )


def _not_worse_than_champion(name: str, found: GateEvidence, champion: Champion | None) -> tuple[bool, str]:
    if champion is None:
        return True, "There is no champion to beat."
    held = f"the champion {champion.bundle_id} ({champion.family})"
    if champion.evidence is None or champion.evidence.tests_hash != found.tests_hash:
        return True, f"{held[0].upper()}{held[1:]} was scored on other tests and gives way to a candidate that passes."
    theirs, ours = champion.evidence.logloss_gain.mean, found.logloss_gain.mean
    if ours >= theirs:
        return True, f"On the same tests {held} gained {theirs:+.5f} nats, not more than {name}."
    return False, f"On the same tests {held} gained {theirs:+.5f} nats, more than {name} with {ours:+.5f}."
