"""Keeps which bundle trades: a small pointer file a symbol and horizon, beside the bundles.

What belongs here: reading and writing the pointer and its history. Whether a model has earned its place is
`promotion`'s decision; the runtime reads the pointer alone, so nothing heavy is imported here.

``models/champions/<symbol>/h<horizon>.json`` is replaced in one step; ``h<horizon>.history.jsonl`` beside it gets one
line a promotion, before the pointer moves: a crash between the two leaves a line too many, never one too few. Both have
a checksum, the pointer is one of the lines, and it keeps the hash of the bundle's manifest: what was edited after the
promotion is refused. Pointers of older versions have neither checksum nor manifest hash; the bundle id, a hash itself,
vouches for what they trade.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from ghtrader_base.errors import IntegrityError, UsageError
from ghtrader_base.files import (
    append_durable,
    atomic_write_json,
    checksum_holds,
    ensure_dir,
    parse_json,
    read_bytes,
    read_checked_json,
    with_checksum,
)
from ghtrader_base.private_files import open_plain
from ghtrader_market.reference.tick_origin import UNKNOWN, words_of
from ghtrader_models.bundles.bundle import Bundle, bundles_dir, load_bundle
from ghtrader_models.model_scores import GainInterval

_AGAIN = "promote again"
_SYMBOL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,60}")


@dataclass(frozen=True, kw_only=True)
class GateEvidence:
    """The numbers a promotion rests on.

    Attributes
    ----------
    family : str
        Of the candidate.
    horizon : int
        Ticks ahead it predicts.
    logloss_gain : GainInterval
        Over the training prior, nats.
    tests_hash : str
        Hash of the test rows; equal for reports that may be compared.
    metrics_hash : str or None
        Of the report.
    simulated_net_pnl : float or None
        CNY, over the same tests; None where it was not simulated.
    """

    family: str
    horizon: int
    logloss_gain: GainInterval
    tests_hash: str
    metrics_hash: str | None = None
    simulated_net_pnl: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Champion:
    """The pointer.

    Attributes
    ----------
    symbol : str
        Series that is traded, for example KQ.m@SHFE.cu.
    horizon : int
        Ticks ahead the model predicts.
    bundle_id : str
        The bundle; its content must hash to it.
    path : str
        The bundle's folder, relative to the models folder, so that a home may be moved.
    family : str
        Of the bundle.
    promoted_at : str
        ISO 8601 with offset.
    reason : str
        Why, as a sentence.
    previous : str or None
        Bundle id of the champion before.
    evidence : GateEvidence or None
        The numbers the gate saw; None where nobody asked it.
    run_id : str
        Run that promoted.
    origin : str
        Where the ticks come from that it learned from, in words; empty where its bundle does not say it.
    manifest_sha256 : str
        Of the bundle's manifest when it was promoted; empty in pointers of older versions.
    """

    symbol: str
    horizon: int
    bundle_id: str
    path: str
    family: str
    promoted_at: str
    reason: str
    previous: str | None = None
    evidence: GateEvidence | None = None
    run_id: str = ""
    origin: str = ""
    manifest_sha256: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form; without evidence an empty object stands in its place, what is not known is left out."""
        found = {**asdict(self), "evidence": self.evidence.to_dict() if self.evidence is not None else {}}
        return {name: value for name, value in found.items() if value or name not in ("origin", "manifest_sha256")}


def champion_path(models_dir: Path, symbol: str, horizon: int) -> Path:
    """The pointer file of a symbol and horizon; `UsageError` for a symbol no file could be named after."""
    if not _SYMBOL.fullmatch(symbol):
        raise UsageError(f"no symbol: {symbol!r}", "for example KQ.m@SHFE.cu or SHFE.cu2502")
    return models_dir / "champions" / symbol / f"h{int(horizon)}.json"


def load_champion(models_dir: Path, symbol: str, horizon: int) -> Champion | None:
    """The champion in force, or None where nothing was ever promoted.

    Raises
    ------
    IntegrityError
        The pointer is damaged, was edited, is that of another series, or is no promotion that its history knows.
    """
    path = champion_path(models_dir, symbol, horizon)
    return read_pointer(path)[0] if path.exists() else None


def pointer_paths(models_dir: Path) -> list[Path]:
    """Every pointer file, by symbol and horizon."""
    return sorted((models_dir / "champions").glob("*/h*.json"))


def read_pointer(path: Path) -> tuple[Champion, bool]:
    """The champion a pointer file names, and whether it has a checksum; errors as `load_champion`."""
    document, has_checksum = read_checked_json(path)
    champion = _parse(path, document)
    models_dir = path.parents[2]
    if champion_path(models_dir, champion.symbol, champion.horizon) != path:
        raise IntegrityError(f"{path} is the pointer of {champion.symbol}, horizon {champion.horizon}", _AGAIN)
    if champion.path != f"bundles/{champion.bundle_id}":
        raise IntegrityError(f"{path} names bundle {champion.bundle_id} and the folder {champion.path}", _AGAIN)
    if champion not in read_history(models_dir, champion.symbol, champion.horizon):
        raise IntegrityError(f"{path} is no promotion that its history knows", _AGAIN)
    return champion, has_checksum


def load_champion_bundle(models_dir: Path, symbol: str, horizon: int) -> Bundle:
    """The champion's bundle, checked to be the one that was promoted.

    Raises
    ------
    UsageError
        Nothing was promoted.
    IntegrityError
        Pointer or bundle damaged or edited, as `load_champion` and `bundle_of` say.
    """
    champion = load_champion(models_dir, symbol, horizon)
    if champion is None:
        raise UsageError(
            f"no champion for {symbol} at horizon {horizon}",
            "train and promote one, or name a bundle with --model",
        )
    return bundle_of(models_dir, champion)


def bundle_of(models_dir: Path, champion: Champion) -> Bundle:
    """The bundle that was promoted.

    Raises
    ------
    IntegrityError
        It is gone, damaged, another one, one of another series, or its manifest was edited since.
    """
    where = f"the champion of {champion.symbol} at horizon {champion.horizon}"
    try:
        bundle = load_bundle(models_dir / champion.path, champion.bundle_id)
    except UsageError as exc:
        raise IntegrityError(f"{where} is bundle {champion.bundle_id}, which is gone", _AGAIN) from exc
    if (bundle.symbol, bundle.horizon) != (champion.symbol, champion.horizon):
        raise IntegrityError(f"{where} is a bundle of {bundle.symbol} at horizon {bundle.horizon}", _AGAIN)
    if champion.manifest_sha256 not in ("", bundle.manifest_sha256):
        raise IntegrityError(f"{where}: the manifest of bundle {bundle.bundle_id} was edited since", _AGAIN)
    return bundle


def list_champions(models_dir: Path) -> list[Champion]:
    """All champions in force, by symbol and horizon."""
    found = [read_pointer(path)[0] for path in pointer_paths(models_dir)]
    return sorted(found, key=lambda champion: (champion.symbol, champion.horizon))


def write_champion(
    models_dir: Path,
    bundle: Bundle,
    *,
    reason: str,
    evidence: GateEvidence | None = None,
    run_id: str = "",
    promoted_at: datetime | None = None,
) -> Champion:
    """Make `bundle` the champion of its symbol and horizon.

    Parameters
    ----------
    models_dir : Path
        The folder whose ``bundles/`` holds the bundle.
    bundle : Bundle
        Loaded, hence checked.
    reason : str
        A sentence.
    evidence : GateEvidence, optional
        The numbers behind the decision.
    run_id : str
        Run that promotes.
    promoted_at : datetime, optional
        Aware; now where absent.

    Raises
    ------
    UsageError
        The bundle lies outside this models folder, or no reason is given.
    """
    if not reason.strip():
        raise UsageError("a promotion needs a reason", "say why in a sentence")
    if bundle.path.resolve().parent != bundles_dir(models_dir).resolve():
        raise UsageError(f"bundle {bundle.bundle_id} does not lie under {models_dir}", "promote where it was trained")
    pointer = champion_path(models_dir, bundle.symbol, bundle.horizon)
    before = _before(models_dir, bundle.symbol, bundle.horizon)
    champion = Champion(
        symbol=bundle.symbol,
        horizon=bundle.horizon,
        bundle_id=bundle.bundle_id,
        path=f"bundles/{bundle.path.name}",
        family=bundle.kind,
        promoted_at=(promoted_at or datetime.now().astimezone()).isoformat(timespec="seconds"),
        reason=reason,
        previous=before.bundle_id if before else None,
        evidence=evidence,
        run_id=run_id,
        origin="" if bundle.content.origins == (UNKNOWN,) else words_of(bundle.content.origins),
        manifest_sha256=bundle.manifest_sha256,
    )
    document = with_checksum(champion.to_dict())
    line = json.dumps(document, ensure_ascii=False, allow_nan=False) + "\n"
    ensure_dir(pointer.parent)
    _append_line(history_path(models_dir, bundle.symbol, bundle.horizon), line.encode())
    atomic_write_json(pointer, document)
    return champion


def _before(models_dir: Path, symbol: str, horizon: int) -> Champion | None:
    """The champion until now; of a pointer that does not read, which a promotion mends, what was promoted last."""
    try:
        return load_champion(models_dir, symbol, horizon)
    except IntegrityError:
        return next(reversed(read_history(models_dir, symbol, horizon)), None)


def history_path(models_dir: Path, symbol: str, horizon: int) -> Path:
    """The JSONL of all promotions of a symbol and horizon, oldest first."""
    return champion_path(models_dir, symbol, horizon).with_suffix(".history.jsonl")


def read_history(models_dir: Path, symbol: str, horizon: int) -> list[Champion]:
    """Promotions so far, oldest first; a last line cut short by a crash is left out."""
    path = history_path(models_dir, symbol, horizon)
    if not path.exists():
        return []
    lines = read_bytes(path).split(b"\n")[:-1]  # what follows the last newline never reached the disk whole
    try:
        documents = [parse_json(line) for line in lines if line]
        if any(checksum_holds(document) is False for document in documents):
            raise ValueError("a line was edited")
        return [_parse(path, document) for document in documents]
    except (ValueError, TypeError) as exc:
        raise IntegrityError(f"{path} has a line that does not read: {exc}", "mend or remove that line") from exc


def _append_line(path: Path, line: bytes) -> None:
    fd = open_plain(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
    try:
        whole = os.pread(fd, os.fstat(fd).st_size, 0)
        if whole and not whole.endswith(b"\n"):  # a line cut short by a crash would swallow the next one
            os.ftruncate(fd, whole.rfind(b"\n") + 1)
        append_durable(fd, line)
    finally:
        os.close(fd)


def _parse(path: Path, data: Any) -> Champion:
    try:
        return msgspec.convert({**data, "evidence": data.get("evidence") or None}, Champion)
    except (AttributeError, TypeError, msgspec.ValidationError) as exc:
        raise IntegrityError(f"{path} is no champion pointer: {exc}", _AGAIN) from exc
