"""Measures whether pretraining helps: the same network with and without it, in worlds whose best score is known.

A network is trained on the labels of a few days and tested on later ones, once from random weights and once from an
encoder that has learned to say the next snapshot, from every day before the held-out span: earlier days of copper whose
labels nobody reads, and the same of the other varieties. Each seed is a market of its own. What decides is the
difference of the two gains in log-loss, seed by seed, and its 95 % t interval; beside it stands the oracle's gain.
Networks are scored by torch: what an export says of a window is the same to 1e-5, and takes longer than the training.
Every figure is kept under `var/bench/pretraining` while code and sizes are what they were, so that a run that was
stopped goes on. `--windows` and `--epochs` are those of training; pretraining has as many windows of each series.

    python -m tests.benchmarks.pretraining [--worlds sequence driver] [--families tcn ssm] [--days 5 20] [--seeds 5]
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ghtrader_base.files import atomic_write_json, atomic_write_text, content_hash, sha256_file
from ghtrader_exchange.world.scenario import Scenario
from ghtrader_models.bundles.provenance import PretrainingRecord
from ghtrader_models.datasets.lightning_data import WindowDataModule
from ghtrader_models.datasets.load import Dataset
from ghtrader_models.datasets.sample_windows import training_and_validation
from ghtrader_models.datasets.samples import Samples
from ghtrader_models.datasets.windows import WindowSpec
from ghtrader_models.evaluation.metrics import class_prior, log_loss, t_interval
from ghtrader_models.families.base import get_family, make_config
from ghtrader_models.families.networks.ssm import SSM
from ghtrader_models.families.networks.tcn import TCN
from ghtrader_models.families.onnx_export import Normalised
from ghtrader_models.families.pretraining.encoder import pretrained_encoder
from ghtrader_models.families.training_session import TrainingSession
from ghtrader_models.families.window_config import EncoderConfig, Pretraining
from ghtrader_models.families.window_training import train_network
from ghtrader_models.inference.onnx_windows import padded_windows, softmax
from tests.verify.test_known_worlds import HORIZON, Played

OUT = Path("var/bench/pretraining")
START, END = date(2025, 3, 3), date(2025, 4, 16)
TESTED, SCORED = 4, 5
"""Days that are tested, the last ones; every how many-th of their rows."""
SIZES: dict[str, dict[str, int]] = {
    "tcn": {"channels": 8, "levels": 4, "kernel": 3},
    "ssm": {"width": 16, "states": 16},
}
ROOT = Path(__file__).parents[2]
DECIDES = ("ghtrader_models/families", "ghtrader_models/datasets/sample_windows.py", "ghtrader_exchange/world")
"""Whose files make a figure what it is."""


def _digest(part: str) -> str:
    path = ROOT / part
    return content_hash([sha256_file(file) for file in ([path] if path.is_file() else sorted(path.rglob("*.py")))])


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One market: gains in log-loss over the training prior, nats, on the same test rows.

    Attributes
    ----------
    world, family : str
    days, seed : int
        Days with labels; the market's and the network's seed.
    scratch, pretrained, oracle : float
    pretraining_days : int
        Of all series.
    seconds : float
        Processor time of both.
    """

    world: str
    family: str
    days: int
    seed: int
    scratch: float
    pretrained: float
    oracle: float
    pretraining_days: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Market:
    """The series of one seed: copper, which is tested, and the others."""

    played: Played
    own: Dataset
    others: tuple[Dataset, ...]


def market(world: str, seed: int, args: argparse.Namespace) -> Market:
    """Play a market and name its days by what decides them."""
    keys = ("cu", *args.others)
    scenario = Scenario(
        world=world, seed=seed, start=START, end=END, varieties=keys, snapshot_seconds=args.snapshot, contracts=6
    )
    played = [Played(scenario, args.factors, key) for key in keys]
    named = []
    for each in played:
        facts = tuple(
            dataclasses.replace(fact, features_hash=content_hash([scenario.digest, each.key, str(fact.day)]))
            for fact in each.dataset.facts
        )
        named.append(dataclasses.replace(each.dataset, facts=facts))
    return Market(played=played[0], own=named[0], others=tuple(named[1:]))


def pair(found: Market, family: str, days: int, seed: int, args: argparse.Namespace) -> Pair:
    """Train both and score them."""
    data, began = found.own, time.process_time()
    first_test = len(data.days) - TESTED
    usable = np.flatnonzero(data.usable)
    day = data.day_index[usable]
    train = usable[(day >= first_test - days) & (day < first_test)]
    test = usable[day >= first_test][::SCORED]
    samples = dataclasses.replace(
        data.samples(train), others=tuple(other.samples(np.arange(len(other))) for other in found.others)
    )
    learner, gains, pretrained_on = get_family(family), {}, 0
    prior = log_loss(np.tile(class_prior(data.y[train]), (test.size, 1)), data.y[test])
    for kind in ("none", "next_snapshot"):
        config = make_config(
            learner,
            {
                "length": args.length, "max_windows": args.windows, "max_epochs": args.epochs, "patience": 3,
                "batch_size": args.batch, "pretrain": kind, "pretrain_epochs": args.epochs,
                "pretrain_windows": args.windows * (1 + len(found.others)), **SIZES[family],
            },
        )  # fmt: skip
        assert isinstance(config, EncoderConfig)
        p, record = trained(family, samples, config, seed, test)
        gains[kind] = prior - log_loss(p, data.y[test])
        if record is not None:
            assert record.ends_ns < data.datetime_ns[test[0]], "it learned from the days that are tested"
            pretrained_on = len(record.days)
    with tempfile.TemporaryDirectory() as folder:
        chances = found.played.chances(Path(folder) / "truth", test)
    return Pair(
        world=found.played.scenario.world,
        family=family,
        days=days,
        seed=seed,
        scratch=gains["none"],
        pretrained=gains["next_snapshot"],
        oracle=prior - log_loss(chances, data.y[test]),
        pretraining_days=pretrained_on,
        seconds=time.process_time() - began,
    )


def trained(
    family: str, samples: Samples, config: EncoderConfig, seed: int, test: np.ndarray
) -> tuple[np.ndarray, PretrainingRecord | None]:
    """float64[k, 3] of some rows by a network trained as `window_family` does, and what it was pretrained on."""
    spec, sizes = WindowSpec(length=config.length, horizon=samples.horizon), SIZES[family]

    def build(length: int, factors: int) -> nn.Module:
        return TCN(factors, **sizes) if family == "tcn" else SSM(factors, layers=1, **sizes)

    sides = training_and_validation(samples, spec, share=config.validation_share, most=config.max_windows)
    module = WindowDataModule(*sides, batch_size=config.batch_size, seed=seed)
    first = int(np.searchsorted(samples.day_index, sides[1].day_index[0])) + int(sides[1].end[0])
    record = None
    torch.manual_seed(seed)
    network = build(config.length, samples.X.shape[1])
    with tempfile.TemporaryDirectory() as folder:
        if config.pretrain != Pretraining.NONE:
            before_ns = int(samples.datetime_ns[first])
            encoder = pretrained_encoder(
                family, build, samples, config, seed=seed, before_ns=before_ns, session=TrainingSession()
            )
            encoder.give_to(network)
            record = encoder.record
        network = train_network(network, module, config, seed=seed, folder=Path(folder)).network
    whole = Normalised(network, module.normaliser).eval()
    parts = []
    with torch.no_grad():
        for low in range(0, test.size, 1024):
            rows = padded_windows(samples.X, samples.day_index, test[low : low + 1024], config.length)
            parts.append(softmax(whole(torch.from_numpy(rows)).numpy()))
    return np.concatenate(parts), record


def table(pairs: Sequence[Pair]) -> str:
    """Markdown: a row for each world, family and number of days."""
    lines = [
        "| world | family | days with labels | days pretrained on | oracle | from random weights | pretrained | "
        "difference (95 %) | seeds |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for key in sorted({(each.world, each.family, each.days) for each in pairs}):
        own = [each for each in pairs if (each.world, each.family, each.days) == key]
        oracle, scratch, learned = (
            float(np.mean([getattr(each, name) for each in own])) for name in ("oracle", "scratch", "pretrained")
        )
        gap = t_interval([each.pretrained - each.scratch for each in own])
        lines.append(
            f"| {key[0]} | {key[1]} | {key[2]} | {own[0].pretraining_days} | {oracle:.4f} | {scratch:.4f} "
            f"({scratch / oracle:.0%}) | {learned:.4f} ({learned / oracle:.0%}) | "
            f"{gap.mean:+.4f} ({gap.low:+.4f} to {gap.high:+.4f}) | {len(own)} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure what is not there yet, print the table after each market."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", nargs="+", default=["sequence", "driver"])
    parser.add_argument("--families", nargs="+", default=["tcn"], choices=sorted(SIZES))
    parser.add_argument("--days", nargs="+", type=int, default=[5, 20])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--others", nargs="*", default=["au"], help="varieties that are pretrained on too")
    parser.add_argument("--factors", default="lean")
    parser.add_argument("--windows", type=int, default=3000)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--length", type=int, default=32)
    parser.add_argument("--snapshot", type=float, default=10.0, help="market seconds from one snapshot to the next")
    args = parser.parse_args()
    sizes = [
        args.others, args.factors, args.batch, args.windows, args.epochs, args.length, args.snapshot, HORIZON,
        str(SIZES), *map(_digest, DECIDES),
    ]  # fmt: skip
    kept = OUT / content_hash(sizes)[:12]
    kept.mkdir(parents=True, exist_ok=True)
    pairs: list[Pair] = []
    for seed in range(1, args.seeds + 1):
        for world in args.worlds:
            played: Market | None = None
            for family in args.families:
                for days in args.days:
                    path = kept / f"{world}-{family}-{days}-{seed}.json"
                    if not path.exists():
                        played = played or market(world, seed, args)
                        atomic_write_json(path, dataclasses.asdict(pair(played, family, days, seed, args)))
                    pairs.append(Pair(**json.loads(path.read_text())))
                    print(pairs[-1], flush=True)
        atomic_write_text(kept / "table.md", table(pairs))
    print(f"\n{table(pairs)}\n{kept / 'table.md'}")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
