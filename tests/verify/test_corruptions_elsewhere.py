"""Corruptions of other things than ticks: the audit names each, and whoever would trade or build from it refuses it.

A careless hand edits a file, a clever one writes its checksum and its manifest anew; a third one moves whole folders.
Each case says which kinds of findings name it, and what is asked of the reader. The last test changes single bytes of
everything that is here.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from ghtrader_assets.audit_home import audit_home
from ghtrader_assets.results.reports_store import candidate_path, load_candidate
from ghtrader_base.errors import GhtraderError
from ghtrader_base.files import read_checked_json, with_checksum
from ghtrader_base.settings import Settings, load_settings
from ghtrader_market.audit.report import AuditReport
from ghtrader_market.inventory.contract_catalog import catalog_path, load_contracts
from ghtrader_market.main_series.main_l5 import build_main_l5_day
from ghtrader_market.reference.roll_schedule import load_schedule, schedule_path
from ghtrader_market.reference.trading_calendar import bundled_calendar, holidays_path, load_calendar
from ghtrader_market.sql.engine import opened
from ghtrader_market.stores.lake.declared_days import declared_path, load_declared, require_declared
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_market.stores.lake.manifests import MANIFEST
from ghtrader_market.stores.lake.missing_days import no_data_days, no_data_path, skipped_days, traded_by_bars
from ghtrader_models.bundles import bundle as bundle_module
from ghtrader_models.bundles.bundle import bundles_dir, load_bundle
from ghtrader_models.bundles.champions import champion_path, history_path, load_champion, load_champion_bundle
from ghtrader_models.datasets.build_day import build_day
from ghtrader_models.factors.library.sets import get_factor_set
from ghtrader_models.labels.labels import LabelSpec
from ghtrader_runtime.gateway.contract_binding import ContractResolver
from tests.support import built, whole_home

pytestmark = pytest.mark.clock

KEY, DAY, NEXT_DAY = built.KEY, built.DAYS[0], built.DAYS[1]
CONTRACT, OTHER = whole_home.CONTRACT, whole_home.OTHER
CALENDAR = bundled_calendar()
HORIZON = 50


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("whole") / "home"
    whole_home.build(home)
    return home


@pytest.fixture
def home(template: Path, tmp_path: Path) -> Settings:
    copied(template, tmp_path / "home")
    return load_settings(tmp_path / "home")


def copied(template: Path, home: Path) -> None:
    """A copy whose folders have the times of the original, so that the index believes itself."""
    shutil.copytree(template, home, copy_function=shutil.copy2)


def audited(settings: Settings) -> AuditReport:
    return audit_home(settings)[0]


# ---- readers: each raises where it refuses, or returns None ----
def trades_next(settings: Settings) -> None:
    ContractResolver(settings.data, KEY, CALENDAR).first()


def trades_champion(settings: Settings) -> None:
    load_champion_bundle(settings.models, KEY, HORIZON)


def trades_by_name(settings: Settings) -> None:
    folder = bundles_dir(settings.models) / bundle_ids(settings)[0]
    load_bundle(folder, folder.name)


def promotes(settings: Settings) -> None:
    load_candidate(settings, KEY, HORIZON, "logistic")


def builds_main(settings: Settings) -> None:
    lake = Lake(settings.data)
    build_main_l5_day(lake, CALENDAR, load_schedule(lake.root, "cu"), DAY, overwrite=True)


def builds_features(settings: Settings) -> None:
    lake = Lake(settings.data)
    build_day(lake, KEY, DAY, get_factor_set("lean"), LabelSpec(), run_id="test", calendar=CALENDAR, overwrite=True)


def reads_labels(settings: Settings) -> None:
    Lake(settings.data).read_day("labels", KEY, DAY)


def makes_schedule(settings: Settings) -> None:
    require_declared(Lake(settings.data), "cu", load_declared(settings.data, "cu"))


def reads_calendar(settings: Settings) -> None:
    load_calendar(settings)


def reads_contracts(settings: Settings) -> None:
    load_contracts(settings.data, "cu")


def downloads(settings: Settings) -> None:
    """Refuses a list that does not read, and passes over what it says of a day that traded or is here."""
    lake = Lake(settings.data)
    skipped_days(lake, OTHER)
    empty = no_data_days(lake, OTHER) - set(lake.days("ticks", OTHER))
    if empty - traded_by_bars(lake, OTHER, empty) != {whole_home.EMPTY}:
        raise GhtraderError("another day is believed to be empty")


def counts(settings: Settings) -> int:
    with opened(settings.data, "SELECT count(*) AS n FROM ticks_raw_v2") as reader:
        return int(reader.read_all()["n"][0].as_py())


def rows(settings: Settings) -> int:
    lake = Lake(settings.data)
    return sum(lake.manifest("ticks", key, day).rows for key in lake.keys("ticks") for day in lake.days("ticks", key))


def counts_all(settings: Settings) -> None:
    """SQL counts every row there is, whatever the index said."""
    assert counts(settings) == rows(settings)


# ---- damage ----
def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text, f"{old} is not in {path}"
    path.write_text(text.replace(old, new, 1))


def rewrite(file: Path, *, clever: bool, **changes: Any) -> None:
    """A document with some fields changed; its checksum to match, or gone, as a clever hand has it."""
    document = read_checked_json(file)[0] | changes
    file.write_text(json.dumps(with_checksum(document) if clever else document))


def exchange(one: Path, other: Path) -> None:
    aside = one.parent / ".aside"
    one.rename(aside)
    other.rename(one)
    aside.rename(other)


def piped(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def folder_in_place(path: Path) -> None:
    path.unlink()
    path.mkdir()


def index(settings: Settings, sql: str) -> None:
    with contextlib.closing(sqlite3.connect(settings.data / "coverage.sqlite")) as connection, connection:
        connection.execute(sql)


def index_behind(settings: Settings) -> None:
    """Rows deleted by somebody who knows how the index tells its own changes from others'."""
    with contextlib.closing(sqlite3.connect(settings.data / "coverage.sqlite")) as connection, connection:
        connection.execute("INSERT INTO own_change VALUES ('x')")
        connection.execute("DELETE FROM days WHERE dataset='ticks' AND day=?", (DAY.isoformat(),))
        connection.execute("DELETE FROM own_change")


def manifest(settings: Settings, dataset: str = "ticks", key: str = CONTRACT, day: date = DAY) -> Path:
    return Lake(settings.data).day_path(dataset, key, day) / MANIFEST


def bundle_ids(settings: Settings) -> list[str]:
    """The champion's bundle first."""
    champion = load_champion(settings.models, KEY, HORIZON)
    assert champion is not None
    return sorted((path.name for path in bundles_dir(settings.models).iterdir()), key=lambda n: n != champion.bundle_id)


def policy_edited(settings: Settings, *, with_manifest: bool) -> None:
    folder = bundles_dir(settings.models) / bundle_ids(settings)[0]
    edit(folder / "policy.json", '"max_lots": 1', '"max_lots": 9')
    if with_manifest:
        names = json.loads((folder / "manifest.json").read_text())["files"]
        fitted = bundle_module._manifest("logistic", {name: (folder / name).read_bytes() for name in names})
        (folder / "manifest.json").write_text(json.dumps(fitted))


def run_edited(settings: Settings) -> None:
    """What no bundle id covers: who trained it, and when; the manifest is made to match."""
    folder = bundles_dir(settings.models) / bundle_ids(settings)[0]
    provenance = json.loads((folder / "provenance.json").read_text())
    provenance["run"] = {"run_id": "another", "created_at": "2020-01-01T00:00:00+00:00", "code_version": "x"}
    (folder / "provenance.json").write_text(json.dumps(provenance))
    names = json.loads((folder / "manifest.json").read_text())["files"]
    fitted = bundle_module._manifest("logistic", {name: (folder / name).read_bytes() for name in names})
    (folder / "manifest.json").write_text(json.dumps(fitted))


def another_champion(settings: Settings, *, clever: bool) -> None:
    other = bundle_ids(settings)[1]
    pointer = champion_path(settings.models, KEY, HORIZON)
    rewrite(pointer, clever=clever, bundle_id=other, path=f"bundles/{other}")


def other_bundle_in_its_folder(settings: Settings) -> None:
    first, second = (bundles_dir(settings.models) / name for name in bundle_ids(settings))
    exchange(first, second)


def champion_bundle_gone(settings: Settings) -> None:
    shutil.rmtree(bundles_dir(settings.models) / bundle_ids(settings)[0])


def pointer_of(settings: Settings) -> Path:
    return champion_path(settings.models, KEY, HORIZON)


def candidate_of(settings: Settings) -> Path:
    return candidate_path(settings, KEY, HORIZON, "logistic")


def schedule_of(settings: Settings) -> Path:
    return schedule_path(settings.data, "cu")


def empties(settings: Settings, text: str) -> None:
    no_data_path(Lake(settings.data), OTHER).write_text(text)


@dataclass(frozen=True)
class Case:
    """A corruption.

    Attributes
    ----------
    damage : callable
        Does it to a home.
    kinds : tuple of str
        Kinds of findings, of which one at least names it.
    reader : callable
        Refuses it with a GhtraderError; where `repaired`, does its work all the same.
    """

    damage: Callable[[Settings], object]
    kinds: tuple[str, ...]
    reader: Callable[[Settings], None]
    repaired: bool = False


SCHEDULE, NEXT = ("schedule_broken",), ("next_contract",)
CASES: dict[str, Case] = {
    # schedules
    "next contract edited": Case(
        lambda s: edit(schedule_of(s), '"next_contract": "SHFE.cu25', '"next_contract": "SHFE.cu27'),
        SCHEDULE,
        trades_next,
    ),
    "next contract edited, checksum made to match": Case(
        lambda s: rewrite(schedule_of(s), clever=True, next_contract="SHFE.cu2512"), NEXT, trades_next
    ),
    "next contract edited, checksum taken away": Case(
        lambda s: rewrite(schedule_of(s), clever=False, next_contract="SHFE.cu2512"), NEXT, trades_next
    ),
    "next contract of another variety": Case(
        lambda s: rewrite(schedule_of(s), clever=True, next_contract="SHFE.au2506"), SCHEDULE, trades_next
    ),
    "next contract long expired": Case(
        lambda s: rewrite(schedule_of(s), clever=True, next_contract="SHFE.cu2401"), SCHEDULE, trades_next
    ),
    "a scheduled contract edited": Case(
        lambda s: edit(schedule_of(s), '"contract": "SHFE.cu2505"', '"contract": "SHFE.cu2507"'), SCHEDULE, trades_next
    ),
    "a day declared by hand": Case(
        lambda s: edit(schedule_of(s), '"declared": false', '"declared": true'), SCHEDULE, trades_next
    ),
    "the schedule of another variety": Case(
        lambda s: edit(schedule_of(s), '"variety": "cu"', '"variety": "au"'), SCHEDULE, trades_next
    ),
    "a schedule of brackets": Case(lambda s: schedule_of(s).write_text("[" * 100_000), SCHEDULE, trades_next),
    "a pipe as schedule": Case(lambda s: piped(schedule_of(s)), SCHEDULE, trades_next),
    "a folder as schedule": Case(lambda s: folder_in_place(schedule_of(s)), SCHEDULE, trades_next),
    # bundles and champions
    "a policy edited": Case(lambda s: policy_edited(s, with_manifest=False), ("bundle_broken",), trades_by_name),
    "a policy edited with its manifest": Case(
        lambda s: policy_edited(s, with_manifest=True), ("bundle_broken",), trades_by_name
    ),
    "a policy edited with its manifest, as champion": Case(
        lambda s: policy_edited(s, with_manifest=True), ("champion_broken",), trades_champion
    ),
    "who trained it edited with its manifest": Case(run_edited, ("champion_broken",), trades_champion),
    "two bundles exchanged": Case(other_bundle_in_its_folder, ("bundle_broken",), trades_by_name),
    "two bundles exchanged, as champion": Case(other_bundle_in_its_folder, ("champion_broken",), trades_champion),
    "a champion pointed elsewhere": Case(
        lambda s: another_champion(s, clever=False), ("champion_broken",), trades_champion
    ),
    "a champion pointed elsewhere, checksum made to match": Case(
        lambda s: another_champion(s, clever=True), ("champion_broken",), trades_champion
    ),
    "the champion's bundle gone": Case(champion_bundle_gone, ("champion_broken",), trades_champion),
    "a champion's history edited": Case(
        lambda s: edit(history_path(s.models, KEY, HORIZON), "a test", "another"), ("champion_broken",), trades_champion
    ),
    "a champion's history gone": Case(
        lambda s: history_path(s.models, KEY, HORIZON).unlink(), ("champion_broken",), trades_champion
    ),
    "a champion's pointer gone": Case(lambda s: pointer_of(s).unlink(), ("champion_broken",), trades_champion),
    "a champion's reason edited": Case(
        lambda s: edit(pointer_of(s), "a test", "another"), ("champion_broken",), trades_champion
    ),
    "a pipe as pointer": Case(lambda s: piped(pointer_of(s)), ("champion_broken",), trades_champion),
    "a pointer that says a name twice": Case(
        lambda s: edit(pointer_of(s), "{", '{"horizon": 50, '), ("champion_broken",), trades_champion
    ),
    "a candidate edited": Case(
        lambda s: rewrite(candidate_of(s), clever=True, bundle_id="0" * 16), ("candidate_broken",), promotes
    ),
    "a pipe as candidate": Case(lambda s: piped(candidate_of(s)), ("candidate_broken",), promotes),
    # day folders and manifests
    "two contracts' days exchanged": Case(
        lambda s: exchange(manifest(s).parent, manifest(s, key=OTHER).parent), ("manifest_broken",), builds_main
    ),
    "two days exchanged": Case(
        lambda s: exchange(manifest(s).parent, manifest(s, day=NEXT_DAY).parent), ("manifest_broken",), builds_main
    ),
    "two days of the main series exchanged": Case(
        lambda s: exchange(manifest(s, "main_l5", KEY).parent, manifest(s, "main_l5", KEY, NEXT_DAY).parent),
        ("manifest_broken",),
        builds_features,
    ),
    "features in the place of labels": Case(
        lambda s: exchange(manifest(s, "features", KEY).parent, manifest(s, "labels", KEY).parent),
        ("manifest_broken",),
        reads_labels,
    ),
    "a manifest's rows in decimals": Case(
        lambda s: rewrite(manifest(s), clever=True, rows=1.5), ("manifest_broken",), builds_main
    ),
    "a manifest's absurd last time": Case(
        lambda s: rewrite(manifest(s), clever=True, last_ns=1 << 62), ("time_range",), builds_main
    ),
    "a manifest's source edited": Case(
        lambda s: edit(manifest(s), "tqsdk", "tqsdx"), ("manifest_broken",), builds_main
    ),
    "a manifest with NaN": Case(
        lambda s: edit(manifest(s), '"rows": ', '"rows": NaN, "x": '), ("manifest_broken",), builds_main
    ),
    # the index
    "three rows of the index deleted": Case(
        lambda s: index(s, f"DELETE FROM days WHERE dataset='ticks' AND key='{OTHER}'"),
        ("index_changed",),
        counts_all,
        repaired=True,
    ),
    "all rows of the index deleted": Case(
        lambda s: index(s, "DELETE FROM days"), ("index_changed",), counts_all, repaired=True
    ),
    "the index names another file": Case(
        lambda s: index(s, "UPDATE days SET file='part-0.parquet' WHERE dataset='ticks'"),
        ("index_changed",),
        counts_all,
        repaired=True,
    ),
    "rows of the index deleted behind its triggers": Case(index_behind, ("index_missing",), counts_all, repaired=True),
    # ledgers and lists
    "a day that traded called empty": Case(
        lambda s: empties(s, json.dumps([str(whole_home.EMPTY), "2025-04-01"])),
        ("no_data_wrong",),
        downloads,
        repaired=True,
    ),
    "a day that is here called empty": Case(
        lambda s: empties(s, json.dumps([str(whole_home.EMPTY), str(DAY)])),
        ("no_data_wrong",),
        downloads,
        repaired=True,
    ),
    "a list of empty days that is none": Case(lambda s: empties(s, '{"2025-04-03": 1}'), ("ledger_broken",), downloads),
    "a list of empty days of numbers": Case(lambda s: empties(s, "[20250403]"), ("ledger_broken",), downloads),
    "a declared contract edited": Case(
        lambda s: edit(declared_path(s.data, "cu"), CONTRACT, "SHFE.cu2512"), ("declared_wrong",), makes_schedule
    ),
    "a declared contract edited, checksum made to match": Case(
        lambda s: rewrite(declared_path(s.data, "cu"), clever=True, **{str(DAY): "SHFE.cu2512"}),
        ("declared_wrong",),
        makes_schedule,
    ),
    "a contract of another variety declared": Case(
        lambda s: rewrite(declared_path(s.data, "cu"), clever=True, **{str(DAY): "SHFE.au2506"}),
        ("declared_wrong",),
        makes_schedule,
    ),
    "a holiday edited": Case(
        lambda s: edit(holidays_path(s.data), '"2025-05-01"', '"2025-05-06"'), ("reference_broken",), reads_calendar
    ),
    "a contract's expiry edited": Case(
        lambda s: edit(catalog_path(s.data, "cu"), "2025-05-15", "2025-06-15"), ("reference_broken",), reads_contracts
    ),
    "a pipe as contract list": Case(
        lambda s: piped(catalog_path(s.data, "cu")), ("reference_broken",), reads_contracts
    ),
}


def test_there_are_enough() -> None:
    assert len(CASES) >= 40


def test_a_whole_home_has_no_finding_and_every_reader_works(home: Settings) -> None:
    report = audited(home)
    assert report.findings == [], [finding.line() for finding in report.findings]
    assert {section.name: section.looked_at > 0 for section in report.sections} == {
        "reference": True, "schedules": True, "declared": True, "ledgers": True, "index": True, "bundles": True,
        "champions": True, "candidates": True, "reports": False, "registry": False,
    }  # fmt: skip
    assert not report.without_checksum and not any(section.notes for section in report.sections)
    for reader in {case.reader for case in CASES.values()}:
        reader(home)


@pytest.mark.sample(3)
@pytest.mark.parametrize("name", CASES)
def test_a_corruption_is_named_by_the_audit_and_refused_by_its_reader(name: str, home: Settings) -> None:
    case = CASES[name]
    case.damage(home)
    report = audited(home)
    found = {finding.kind for finding in report.findings}
    assert found.intersection(case.kinds), [finding.line() for finding in report.findings]
    if case.repaired:
        case.reader(home)
    else:
        with pytest.raises(GhtraderError) as refused:
            case.reader(home)
        assert refused.value.hint, "an error says what to do"


NOTHING_DEPENDS_ON = {
    "coverage.sqlite": "a copy of the manifests; pages that no row is in may hold anything",
    "_skipped_days.json": "days that are asked for again, whatever it says of them",
    "_no_data_dates.json": "days that neither traded nor are here are not asked for; a list without checksum",
    "features/symbol=KQ.m@SHFE.cu/_manifest.json": "what a series is made with, for people; days have their own",
    "labels/symbol=KQ.m@SHFE.cu/_manifest.json": "likewise",
}
"""Files of which a changed byte may go unnoticed, and why."""


def harmless(before: bytes, after: bytes, name: str) -> bool:
    """Whether a document means the same: white space, or the name of the checksum, which makes it an older one."""
    if not name.endswith((".json", ".jsonl")):
        return False
    try:
        documents = (
            [[json.loads(line) for line in text.splitlines()] for text in (before, after)]
            if (name.endswith("l"))
            else [json.loads(before), json.loads(after)]
        )
    except (ValueError, RecursionError):
        return False
    if documents[0] == documents[1]:
        return True
    known, changed = documents
    return isinstance(changed, dict) and "checksum" not in changed and isinstance(known, dict) and "checksum" in known


def files_of(settings: Settings) -> list[Path]:
    skipped = tuple(NOTHING_DEPENDS_ON)
    every = [path for folder in (settings.data, settings.models) for path in sorted(folder.rglob("*"))]
    return [p for p in every if p.is_file() and not str(p).endswith(skipped) and "coverage.sqlite" not in p.name]


@pytest.mark.parametrize("part", range(4))
def test_any_changed_byte_is_named(part: int, template: Path, tmp_path: Path, sample_seed: str | None) -> None:
    draw = random.Random(f"{sample_seed or 'every'}:{part}")
    copied(template, tmp_path / "home")
    settings = load_settings(tmp_path / "home")
    files = files_of(settings)
    for path in draw.sample(files[part::4], min(12, len(files[part::4]))):
        with changed_byte(path, draw) as (before, after):
            report = audited(settings)
        assert not report.ok or harmless(before, after, path.name), f"{path}: {first_difference(before, after)}"
    assert audited(settings).ok, "all is as it was"


@contextlib.contextmanager
def changed_byte(path: Path, draw: random.Random) -> Iterator[tuple[bytes, bytes]]:
    """A file with one bit of one byte turned, as long as the block lasts."""
    before, stat = path.read_bytes(), path.stat()
    changed = bytearray(before)
    changed[draw.randrange(len(before))] ^= 1 << draw.randrange(8)
    path.write_bytes(bytes(changed))
    try:
        yield before, bytes(changed)
    finally:
        path.write_bytes(before)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def first_difference(before: bytes, after: bytes) -> str:
    place = next(i for i, pair in enumerate(zip(before, after, strict=True)) if pair[0] != pair[1])
    return f"byte {place}, {before[max(0, place - 30) : place + 30]!r}"
