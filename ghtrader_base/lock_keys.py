"""Names the locks of this repository: one function a kind of resource, so that everybody means the same.

Keys of pipeline work live under `Settings.locks` of a home; those of an account beside the account's ledger.
"""

from __future__ import annotations


def ticks_key(symbol: str) -> str:
    """Raw ticks of one symbol: whoever writes or deletes days of it."""
    return f"ticks:symbol={symbol}"


def ticks_range_key(exchange: str, variety: str) -> str:
    """A download or update over all contracts of a variety; each contract's own key is held as well."""
    return f"ticks_range:exchange={exchange},var={variety}"


def daily_bars_key(variety: str) -> str:
    """Daily bars of a variety."""
    return f"daily_bars:var={variety}"


def main_schedule_key(variety: str) -> str:
    """The roll schedule of a variety."""
    return f"main_schedule:var={variety}"


def main_l5_key(symbol: str) -> str:
    """Days of a main series."""
    return f"main_l5:symbol={symbol}"


def build_key(symbol: str) -> str:
    """Features and labels of a symbol."""
    return f"build:symbol={symbol}"


def train_key(family: str, symbol: str, horizon: int) -> str:
    """Training of one family on one symbol and horizon."""
    return f"train:family={family},symbol={symbol},horizon={horizon}"


def pretraining_key(encoder: str) -> str:
    """Pretraining of one encoder, by the hash that names it; lives beside the encoders."""
    return f"pretraining:encoder={encoder}"


def benchmark_key(family: str, symbol: str, horizon: int) -> str:
    """The walk-forward report of one family on one symbol and horizon."""
    return f"benchmark:family={family},symbol={symbol},horizon={horizon}"


def sweep_key(study: str) -> str:
    """A sweep of this home: one command works on a study, with as many workers as it likes."""
    return f"sweep:study={study}"


def sweep_claim_key(study: str) -> str:
    """Claiming a trial of a study: one worker at a time, for moments."""
    return f"sweep_claim:study={study}"


def trade_key(account: str) -> str:
    """The one process that trades an account."""
    return f"trade:account={account}"


def trade_strategy_key(account: str) -> str:
    """The one strategy of an account, whatever it trades: two would share one set of limits unawares."""
    return f"trade:strategy:account={account}"
