"""Makes the environment of hftbacktest, which needs an older NumPy, and runs a case in it.

`infra/hftbacktest.lock` says what is in it, by hashes; the first call installs it under `.cache/hftbacktest`, in about
a minute.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ghtrader_models.simulation.book_tape import BookTape

ROOT = Path(__file__).parents[3]
LOCK = ROOT / "infra" / "hftbacktest.lock"
FOLDER = ROOT / ".cache" / "hftbacktest"
PEER = Path(__file__).with_name("peer.py")


def python() -> Path:
    """Its interpreter."""
    wanted = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    stamp, found = FOLDER / ".installed", FOLDER / "bin" / "python"
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(FOLDER, ignore_errors=True)
        uv = Path(sys.executable).with_name("uv")
        subprocess.run([uv, "venv", "-q", "--python", sys.executable, FOLDER], check=True)
        install = [uv, "pip", "install", "-q", "--python", found, "--require-hashes", "--only-binary", ":all:"]
        subprocess.run([*install, "-r", LOCK], check=True)
        stamp.write_text(wanted)
    return found


@dataclass(frozen=True, kw_only=True)
class Case:
    """One run of the peer, all orders of one lot.

    Attributes
    ----------
    name : str
    tape : BookTape
    seen : int64[n]
        When the strategy sees each row.
    order_ns, answer_ns : int
        Latencies.
    queue : str
        risk-averse, power or log.
    targets : int64[n], or None
        Net lots wanted, -1 to 1: the rows before `targets` are quotes otherwise.
    bid, ask : float64[n], or None
        Quotes, post-only; NaN for none.
    most : int
        Net lots held at most while quoting.
    multiplier : int
    """

    name: str
    tape: BookTape
    seen: np.ndarray
    order_ns: int
    answer_ns: int
    queue: str = "risk-averse"
    targets: np.ndarray | None = None
    bid: np.ndarray | None = None
    ask: np.ndarray | None = None
    most: int = 1
    multiplier: int = 5


@dataclass(frozen=True, kw_only=True)
class PeerResult:
    """What the peer knew at each row: position int64[n], balance float64[n] in CNY; fills and processor seconds."""

    position: np.ndarray
    balance: np.ndarray
    fills: int
    seconds: float


def run_peer(cases: list[Case], folder: Path, repeats: int = 1) -> list[PeerResult]:
    """Run cases in one process of the peer, which compiles for some seconds; `seconds` are the least of `repeats`."""
    for place, case in enumerate(cases):
        tape, none = case.tape, np.full(case.tape.rows, np.nan)
        np.savez(
            folder / f"case-{place}.npz",
            times=tape.times, prices=tape.prices, lots=tape.lots, tick=tape.price_tick, seen=case.seen,
            trade_first=tape.trades.first, trade_price=tape.trades.price, trade_lots=tape.trades.lots,
            latency=np.array([case.order_ns, case.answer_ns]), queue=case.queue, quotes=case.targets is None,
            targets=case.targets if case.targets is not None else np.zeros(tape.rows, np.int64),
            bid=case.bid if case.bid is not None else none, ask=case.ask if case.ask is not None else none,
            most=case.most, multiplier=case.multiplier, repeats=repeats,
        )  # fmt: skip
    done = subprocess.run(
        [python(), "-P", PEER, folder, str(len(cases))], capture_output=True, text=True, check=False,
        env={"PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    if done.returncode:
        raise AssertionError(f"the peer ended with {done.returncode}: {done.stderr[-3000:]}")
    results = []
    for place in range(len(cases)):
        with np.load(folder / f"result-{place}.npz") as found:
            results.append(
                PeerResult(
                    position=found["position"].astype(np.int64), balance=found["balance"], fills=int(found["fills"]),
                    seconds=float(found["seconds"]),
                )  # fmt: skip
            )
    return results
