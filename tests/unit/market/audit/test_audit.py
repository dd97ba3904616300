"""The corruption matrix: whatever is done to a stored day, the audit names file, trading day and kind, and no more.

A careless hand changes a file; a clever one also writes sidecar and manifest anew, so that only the rows' meaning can
give it away. Each case states every finding there is: a finding too many is a false alarm.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ghtrader_assets.audit_home import audit_home, computed_again
from ghtrader_base.errors import UsageError
from ghtrader_base.files import read_checked_json, with_checksum
from ghtrader_base.settings import Settings
from ghtrader_market.audit import audit
from ghtrader_market.audit.audit import audit_lake
from ghtrader_market.audit.report import MEANING, SECTIONS, AuditReport
from ghtrader_market.ingest.import_recordings import import_recordings
from ghtrader_market.main_series.main_l5 import build_main_l5_day
from ghtrader_market.reference.roll_schedule import (
    RollSchedule,
    load_schedule,
    save_schedule,
    schedule_from_open_interest,
)
from ghtrader_market.reference.tick_schema import schema_hash, table_hash
from ghtrader_market.reference.trading_calendar import TradingCalendar, bundled_calendar
from ghtrader_market.samples import CU1909, IF2101
from ghtrader_market.sql.query import query
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_market.stores.lake.manifests import time_range
from ghtrader_models.datasets.build_day import build_day
from ghtrader_models.factors.library.sets import get_factor_set
from ghtrader_models.labels.labels import LabelSpec
from tests.support import built

CALENDAR = bundled_calendar()
DAY = date(2025, 4, 3)
MAIN = "SHFE.cu2505"
OTHER = "SHFE.cu2507"
Change = Callable[[pa.Table], pa.Table]


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("built")
    built.build(root / "data")
    return root / "data"


@pytest.fixture
def lake(template: Path, tmp_path: Path) -> Lake:
    shutil.copytree(template, tmp_path / "data")
    return Lake(tmp_path / "data")


@dataclass(frozen=True)
class Victim:
    """The day a case damages."""

    lake: Lake
    dataset: str
    key: str
    day: date = DAY

    @property
    def folder(self) -> Path:
        return self.lake.day_path(self.dataset, self.key, self.day)

    @property
    def manifest(self) -> Path:
        return self.folder / "_manifest.json"

    @property
    def file(self) -> Path:
        return self.folder / next(iter(json.loads(self.manifest.read_text())["files"]))

    @property
    def sidecar(self) -> Path:
        return self.file.with_name(self.file.name + ".sha256")

    def careless(self, change: Change) -> None:
        """Other rows under the old name, nothing else touched."""
        pq.write_table(change(pq.ParquetFile(self.file).read()), self.file)

    def clever(self, change: Change, **told: object) -> None:
        """Other rows, with file name, sidecar and manifest to match."""
        table = change(pq.ParquetFile(self.file).read())
        document, _ = read_checked_json(self.manifest)
        self.sidecar.unlink()
        self.file.unlink()
        content = table_hash(table)
        path = self.folder / f"part-{content[:12]}.parquet"
        pq.write_table(table, path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        path.with_name(path.name + ".sha256").write_text(f"{digest}  {path.name}\n")
        document |= {"files": {path.name: digest}, "rows": table.num_rows, "content_hash": content}
        first_ns, last_ns = time_range(table)
        document |= {"schema_hash": schema_hash(table.schema), "first_ns": first_ns, "last_ns": last_ns, **told}
        self.manifest.write_text(json.dumps(with_checksum(document)))

    def rewrite(self, **changes: object) -> None:
        """The manifest with some fields changed, and the checksum to match."""
        document, _ = read_checked_json(self.manifest)
        document["extra"] |= changes.pop("extra", {})
        self.manifest.write_text(json.dumps(with_checksum(document | changes)))


def ticks(lake: Lake) -> Victim:
    """A contract that nothing is made from."""
    return Victim(lake, "ticks", OTHER)


def main_ticks(lake: Lake) -> Victim:
    return Victim(lake, "ticks", MAIN)


def main(lake: Lake) -> Victim:
    return Victim(lake, "main_l5", built.KEY)


def features(lake: Lake) -> Victim:
    return Victim(lake, "features", built.KEY)


def labels(lake: Lake) -> Victim:
    return Victim(lake, "labels", built.KEY)


def put(name: str, row: int, value: object) -> Change:
    def change(table: pa.Table) -> pa.Table:
        column = table.column(name).to_pylist()
        column[row] = value
        index = table.schema.get_field_index(name)
        return table.set_column(index, table.schema.field(name), pa.array(column, table.schema.field(name).type))

    return change


def everywhere(name: str, value: object) -> Change:
    def change(table: pa.Table) -> pa.Table:
        field = table.schema.field(name)
        return table.set_column(
            table.schema.get_field_index(name), field, pa.array([value] * table.num_rows, field.type)
        )

    return change


def crossed(table: pa.Table) -> pa.Table:
    return put("bid_price1", 5, table["ask_price1"][5].as_py() + 10)(table)


def nudged(name: str, row: int) -> Change:
    return lambda table: put(name, row, table[name][row].as_py() + 10)(table)


def swapped(table: pa.Table) -> pa.Table:
    order = np.arange(table.num_rows)
    order[[10, 11]] = order[[11, 10]]
    return table.take(order)


def flip(victim: Victim) -> None:
    data = bytearray(victim.file.read_bytes())
    data[len(data) // 3] ^= 1
    victim.file.write_bytes(data)


def cut(victim: Victim) -> None:
    victim.file.write_bytes(victim.file.read_bytes()[:-1000])


def older_schedule(lake: Lake) -> None:
    """The schedule starts a day later than the one the days were built with."""
    days = CALENDAR.days(date(2025, 4, 1), built.LAST)
    save_schedule(lake.root, schedule_from_open_interest("cu", built.bars(built.history(), days)))


def edit(path: Path) -> None:
    path.write_text(path.read_text().replace("SHFE.cu2505", "SHFE.cu2507", 1))


def copy_into(victim: Victim, other: Victim) -> None:
    """The file of another day under this day's name."""
    shutil.copy(other.file, victim.file)


D = DAY.isoformat()
MADE = [("outdated", "features", D), ("outdated", "labels", D)]
"""What follows for the features and labels of a main_l5 day that has other content now."""
EVERY = [str(day) for day in built.DAYS]

CASES: dict[str, tuple[Callable[[Lake], object], list[tuple[str, str, str]]]] = {
    # one file, carelessly
    "flipped byte": (
        lambda lake: flip(ticks(lake)),
        [("checksum", "ticks", D), (("unreadable_file", "content_hash"), "ticks", D)],
    ),
    "truncated file": (
        lambda lake: cut(ticks(lake)),
        [("checksum", "ticks", D), ("unreadable_file", "ticks", D)],
    ),
    "missing file": (lambda lake: ticks(lake).file.unlink(), [("file_missing", "ticks", D)]),
    "missing sidecar": (lambda lake: ticks(lake).sidecar.unlink(), [("sidecar_missing", "ticks", D)]),
    "wrong sidecar": (
        lambda lake: ticks(lake).sidecar.write_text("0" * 64 + "  x\n"),
        [("sidecar_wrong", "ticks", D)],
    ),
    "empty sidecar": (lambda lake: ticks(lake).sidecar.write_text(""), [("sidecar_wrong", "ticks", D)]),
    "missing manifest": (lambda lake: ticks(lake).manifest.unlink(), [("manifest_missing", "ticks", D)]),
    "garbled manifest": (lambda lake: ticks(lake).manifest.write_text("{"), [("manifest_broken", "ticks", D)]),
    "a manifest without files": (lambda lake: ticks(lake).rewrite(files={}), [("manifest_broken", "ticks", D)]),
    "the manifest of another day": (
        lambda lake: ticks(lake).rewrite(day="2025-04-02"),
        [("manifest_broken", "ticks", D)],
    ),
    "wrong row count": (lambda lake: ticks(lake).rewrite(rows=1), [("row_count", "ticks", D)]),
    "wrong content hash": (lambda lake: ticks(lake).rewrite(content_hash="0" * 64), [("content_hash", "ticks", D)]),
    "wrong schema hash": (lambda lake: ticks(lake).rewrite(schema_hash="0" * 16), [("schema", "ticks", D)]),
    "an edited manifest": (
        lambda lake: ticks(lake).manifest.write_text(ticks(lake).manifest.read_text().replace("tqsdk", "other")),
        [("manifest_broken", "ticks", D)],
    ),
    "a manifest of rows in decimals": (
        lambda lake: ticks(lake).rewrite(rows=float(lake.manifest("ticks", OTHER, DAY).rows)),
        [("manifest_broken", "ticks", D)],
    ),
    "a manifest of nine levels": (lambda lake: ticks(lake).rewrite(levels=9), [("manifest_broken", "ticks", D)]),
    "a manifest of one level": (lambda lake: ticks(lake).rewrite(levels=1), [("levels", "ticks", D)]),
    "a manifest of another first time": (lambda lake: ticks(lake).rewrite(first_ns=5), [("time_range", "ticks", D)]),
    "a manifest of another last time": (
        lambda lake: main(lake).rewrite(last_ns=1 << 62),
        [("time_range", "main_l5", D)],
    ),
    "a sidecar with other line ends": (
        lambda lake: ticks(lake).sidecar.write_bytes(ticks(lake).sidecar.read_bytes().replace(b"\n", b"\r\n")),
        [("sidecar_wrong", "ticks", D)],
    ),
    "a sidecar of two lines": (
        lambda lake: ticks(lake).sidecar.write_bytes(ticks(lake).sidecar.read_bytes() * 2),
        [("sidecar_wrong", "ticks", D)],
    ),
    "a day folder over a link": (lambda lake: over_a_link(ticks(lake).folder), [("symlink", "ticks", D)]),
    "a file over a link": (lambda lake: over_a_link(ticks(lake).file), [("symlink", "ticks", D)]),
    "a contract's folder over a link": (
        lambda lake: over_a_link(ticks(lake).folder.parent),
        [("symlink", "ticks", "")],
    ),
    "two contracts' folders of a day, exchanged": (
        lambda lake: exchanged(ticks(lake).folder, main_ticks(lake).folder),
        [("manifest_broken", "ticks", D), ("manifest_broken", "ticks", D), ("source_missing", "main_l5", D)],
    ),
    "extra file": (
        lambda lake: (ticks(lake).folder / "part-copy.parquet").write_bytes(b"x"),
        [("extra_file", "ticks", D)],
    ),
    "a stray file between the days": (
        lambda lake: (lake.root / "main_l5" / "notes.txt").write_text("x"),
        [("extra_file", "main_l5", "")],
    ),
    "the file of another day": (
        lambda lake: copy_into(ticks(lake), Victim(lake, "ticks", OTHER, built.LAST)),
        [("checksum", "ticks", D), ("content_hash", "ticks", D), ("wrong_day", "ticks", D)],
    ),
    "a column less": (
        lambda lake: ticks(lake).careless(lambda table: table.drop_columns(["ask_price5"])),
        [("checksum", "ticks", D), ("content_hash", "ticks", D), ("schema", "ticks", D)],
    ),
    "an edited price": (
        lambda lake: main(lake).careless(nudged("last_price", 7)),
        [("checksum", "main_l5", D), ("content_hash", "main_l5", D), ("differs_from_raw", "main_l5", D)],
    ),
    "an edited factor": (
        lambda lake: features(lake).careless(lambda table: put(table.column_names[3], 300, 0.5)(table)),
        [("checksum", "features", D), ("content_hash", "features", D)],
    ),
    # sidecar and manifest to match: the rows themselves must give it away
    "a mistyped column, cleverly": (
        lambda lake: ticks(lake).clever(
            lambda table: table.set_column(
                table.schema.get_field_index("volume"), "volume", table["volume"].cast(pa.float64())
            )
        ),
        [("schema", "ticks", D)],
    ),
    "reordered rows": (lambda lake: ticks(lake).clever(swapped), [("disordered_rows", "ticks", D)]),
    "a row twice": (
        lambda lake: ticks(lake).clever(lambda table: pa.concat_tables([table.slice(0, 9), table.slice(8)])),
        [("disordered_rows", "ticks", D)],
    ),
    "negative volume": (lambda lake: ticks(lake).clever(put("bid_volume2", 9, -4)), [("negative_value", "ticks", D)]),
    "crossed book": (lambda lake: ticks(lake).clever(crossed), [("crossed_book", "ticks", D)]),
    "volume backwards": (
        lambda lake: ticks(lake).clever(put("volume", -1, 0)),
        [("volume_backwards", "ticks", D)],
    ),
    "rows of another day": (
        lambda lake: ticks(lake).clever(lambda _: lake.read_day("ticks", OTHER, built.LAST)),
        [("wrong_day", "ticks", D)],
    ),
    "an edited main_l5 price, cleverly": (
        lambda lake: main(lake).clever(nudged("last_price", 7)),
        [("differs_from_raw", "main_l5", D), *MADE],
    ),
    "a main_l5 row less": (
        lambda lake: main(lake).clever(lambda table: table.slice(1)),
        [("differs_from_raw", "main_l5", D), *MADE],
    ),
    "wrong segment_id": (
        lambda lake: main(lake).clever(everywhere("segment_id", 7)),
        [("wrong_segment_id", "main_l5", D), *MADE],
    ),
    "one row of another contract": (
        lambda lake: main(lake).clever(put("underlying_contract", 3, OTHER)),
        [("wrong_contract", "main_l5", D), *MADE],
    ),
    "another schedule hash": (
        lambda lake: main(lake).clever(everywhere("schedule_hash", "0" * 16)),
        [("stale_schedule_hash", "main_l5", D), *MADE],
    ),
    "missing provenance": (
        lambda lake: main(lake).clever(put("schedule_hash", 3, None)),
        [("provenance_missing", "main_l5", D), *MADE],
    ),
    "no provenance column": (
        lambda lake: main(lake).clever(lambda table: table.drop_columns(["segment_id"])),
        [("provenance_missing", "main_l5", D), ("schema", "main_l5", D), *MADE],
    ),
    "edited raw ticks below a main_l5 day": (
        lambda lake: main_ticks(lake).clever(nudged("last_price", 7)),
        [("outdated", "main_l5", D), ("differs_from_raw", "main_l5", D), ("index_differs", "index", D)],
    ),
    "raw ticks gone below a main_l5 day": (
        lambda lake: shutil.rmtree(main_ticks(lake).folder),
        [("source_missing", "main_l5", D)],
    ),
    "main_l5 gone below features": (
        lambda lake: shutil.rmtree(main(lake).folder),
        [("source_missing", "features", D), ("source_missing", "labels", D)],
    ),
    "stale schedule": (
        older_schedule,
        [("stale_schedule_hash", "main_l5", day) for day in EVERY if day > "2025-04-01"],
    ),
    "edited schedule": (
        lambda lake: edit(lake.root / "schedules" / "cu.json"),
        [("schedule_broken", "schedules", ""), *(("schedule_broken", "main_l5", day) for day in EVERY)],
    ),
    "no schedule": (
        lambda lake: (lake.root / "schedules" / "cu.json").unlink(),
        [("schedule_broken", "main_l5", day) for day in EVERY],
    ),
    "an edited copy of the schedule": (
        lambda lake: edit(lake.key_path("main_l5", built.KEY) / "schedule.json"),
        [("schedule_copy", "main_l5", day) for day in EVERY],
    ),
    "features at other times": (
        lambda lake: features(lake).clever(nudged("datetime_ns", 5)),
        [("differs_from_source", "features", D)],
    ),
    "features of another segment": (
        lambda lake: features(lake).clever(everywhere("segment_id", 7)),
        [("differs_from_source", "features", D)],
    ),
    "a features row less": (
        lambda lake: features(lake).clever(lambda table: table.slice(0, table.num_rows - 1)),
        [("differs_from_source", "features", D)],
    ),
    "features without provenance": (
        lambda lake: features(lake).clever(lambda table: table.drop_columns(["underlying_contract"])),
        [("provenance_missing", "features", D)],
    ),
    "a manifest that names no source": (
        lambda lake: features(lake).rewrite(source="elsewhere"),
        [("source_missing", "features", D)],
    ),
    "labels that the manifest did not count": (
        lambda lake: labels(lake).clever(everywhere("label_10", -1)),
        [("label_counts", "labels", D)],
    ),
    "a label that is no class": (
        lambda lake: labels(lake).clever(put("label_10", 5, 9)),
        [("label_value", "labels", D)],
    ),
    "a label that looks beyond the day": (
        lambda lake: labels(lake).clever(put("label_50", -3, 2)),
        [("label_value", "labels", D)],
    ),
    "a manifest of nothing but brackets": (
        lambda lake: manifest_of(lake).write_text("[" * 100_000),
        [("manifest_broken", "labels", D)],
    ),
    "a manifest that says a name twice": (
        lambda lake: manifest_of(lake).write_text(manifest_of(lake).read_text().replace("{", '{"rows": 1,', 1)),
        [("manifest_broken", "labels", D)],
    ),
    "a pipe as manifest": (
        lambda lake: piped(manifest_of(lake)),
        [("manifest_broken", "labels", D)],
    ),
    "a pipe as file": (
        lambda lake: piped(next(labels(lake).folder.glob("part-*.parquet"))),
        [("file_missing", "labels", D)],
    ),
    "a pipe as sidecar": (
        lambda lake: piped(next(labels(lake).folder.glob("*.sha256"))),
        [("sidecar_missing", "labels", D)],
    ),
    "an edited mid": (
        lambda lake: labels(lake).clever(nudged("mid", 5)),
        [("differs_from_source", "labels", D)],
    ),
}


def over_a_link(path: Path) -> None:
    """The same, reached over a link."""
    root = path.parents[len(path.parts) - path.parts.index("data") - 1]
    aside = root / f"aside-{path.name}"
    path.rename(aside)
    path.symlink_to(aside)


def exchanged(one: Path, other: Path) -> None:
    aside = one.with_name(".aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)


def manifest_of(lake: Lake) -> Path:
    return labels(lake).folder / "_manifest.json"


def piped(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def told(report: AuditReport) -> list[tuple[str, str, str]]:
    return sorted((finding.kind, finding.dataset, finding.day) for finding in report.findings)


def test_a_whole_lake_has_no_finding(lake: Lake) -> None:
    report = audit_lake(lake, CALENDAR)
    assert report.findings == [] and report.ok
    assert report.days == len(built.DAYS) * 3 + sum(len(lake.days("ticks", key)) for key in lake.keys("ticks"))
    every = [("ticks", key) for key in lake.keys("ticks")] + [(d, built.KEY) for d in ("main_l5", "features", "labels")]
    assert report.rows == sum(lake.manifest(d, key, day).rows for d, key in every for day in lake.days(d, key))


@pytest.mark.sample(3)
@pytest.mark.parametrize("name", CASES)
def test_each_kind_is_named_with_file_and_day_and_nothing_else(name: str, lake: Lake) -> None:
    damage, expected = CASES[name]
    damage(lake)
    report = audit_lake(lake, CALENDAR)
    found = told(report)
    # A flipped bit may leave a file that still decompresses, or not.
    kinds = {kind for kind, _, _ in found}
    settled = [(kind if isinstance(kind, str) else (kinds & set(kind)).pop(), *where) for kind, *where in expected]
    assert found == sorted(settled), [finding.line() for finding in report.findings]
    for finding in report.findings:
        assert finding.kind in MEANING and finding.detail
        if finding.dataset not in SECTIONS:
            assert finding.dataset in finding.file and finding.key in finding.file
            assert finding.day in finding.file or finding.kind == "schedule_copy"


def test_names_of_any_bytes_are_findings_and_end_nothing(lake: Lake, tmp_path: Path) -> None:
    odd = os.fsdecode(b"x\xff")
    day = next((lake.root / "ticks").glob("symbol=*/date=*"))
    shutil.copytree(day, lake.root / "ticks" / f"symbol={odd}" / day.name)
    (day.parent / f"date={odd}").mkdir()
    (day / odd).write_bytes(b"")
    (lake.root / "schedules" / f"{odd}.json").write_text("{}")
    report = audit_lake(lake, CALENDAR)
    assert len({finding.file for finding in report.findings if "x\\udcff" in finding.file}) >= 4
    report.write(tmp_path / "runs")
    "\n".join(finding.line() for finding in report.findings).encode()
    assert odd not in lake.index.keys("ticks"), "the index holds text"
    said: list[str] = []
    found = query(lake.root, "SELECT count(DISTINCT symbol) FROM ticks_raw_v2", tell=said.append)
    assert found.num_rows == 1 and "x\\udcff" in said[0]


def test_there_are_enough_kinds() -> None:
    kinds = {kind for _, expected in CASES.values() for kind, _, _ in expected if isinstance(kind, str)}
    assert len(CASES) >= 14 and len(kinds) >= 14


def test_a_clever_edit_of_a_factor_is_found_by_computing_it_again(lake: Lake) -> None:
    def again(where: Lake, day: object) -> list[str]:
        return computed_again(where, CALENDAR, day)  # type: ignore[arg-type]

    assert audit_lake(lake, CALENDAR, recompute=again).ok
    column = lake.read_day("features", built.KEY, DAY).column_names[3]
    features(lake).clever(put(column, 300, 0.5))
    labels(lake).clever(lambda table: put("label_10", 0, 2 - table["label_10"][0].as_py())(table))
    counts = np.bincount(lake.read_day("labels", built.KEY, DAY)["label_10"].to_numpy() + 1, minlength=4).tolist()
    stated = read_checked_json(labels(lake).manifest)[0]["extra"]["counts"]
    labels(lake).rewrite(extra={"counts": stated | {"label_10": counts}})
    found = audit_lake(lake, CALENDAR, recompute=again)
    # One label that was FLAT stays FLAT when turned round; the factor is found whatever it was.
    assert ("not_recomputed", "features", D) in told(found)
    assert {kind for kind, _, _ in told(found)} == {"not_recomputed"}
    assert column in found.findings[0].detail


def test_a_damaged_neighbour_does_not_end_the_computing_again(lake: Lake) -> None:
    labels(lake).manifest.write_text("{")
    found = audit_lake(lake, CALENDAR, recompute=lambda where, day: computed_again(where, CALENDAR, day))
    assert told(found) == [("manifest_broken", "labels", D), ("not_recomputed", "features", D)]


@pytest.mark.clock
def test_both_real_recordings_are_whole(settings: Settings) -> None:
    lake = Lake(settings.data)
    import_recordings([Path(IF2101)], lake, CALENDAR, "IF")
    import_recordings([Path(CU1909)], lake, CALENDAR)
    for variety, day in (("IF", date(2021, 1, 4)), ("cu", date(2019, 9, 16))):
        contract = {"IF": "CFFEX.IF2101", "cu": "SHFE.cu1909"}[variety]
        none = pa.table({"symbol": pa.array([], pa.string()), "trading_day": [], "open_interest": []})
        save_schedule(lake.root, schedule_from_open_interest(variety, none, {day: contract}))
        build_main_l5_day(lake, CALENDAR, load_schedule(lake.root, variety), day)
        key = {"IF": "KQ.m@CFFEX.IF", "cu": built.KEY}[variety]
        build_day(lake, key, day, get_factor_set("lean"), LabelSpec(), run_id="test", calendar=CALENDAR)
    report, path = audit_home(settings)
    assert report.findings == [] and report.days == 8
    kept = json.loads(path.read_text())
    assert path.parent == settings.runs / "audit" and kept["ok"] and kept["rows"] == report.rows == 4 * 27955 - 9 + 800


def test_what_is_asked_for_is_looked_at(lake: Lake) -> None:
    flip(ticks(lake))
    main(lake).clever(nudged("last_price", 7))
    assert {dataset for _, dataset, _ in told(audit_lake(lake, CALENDAR, dataset="ticks"))} == {"ticks"}
    assert told(audit_lake(lake, CALENDAR, dataset="main_l5")) == [("differs_from_raw", "main_l5", D)]
    assert audit_lake(lake, CALENDAR, varieties=["au"]).days == 0
    assert audit_lake(lake, CALENDAR, start=date(2025, 4, 4)).ok
    assert not audit_lake(lake, CALENDAR, end=DAY, workers=1).ok
    with pytest.raises(UsageError, match="no dataset 'nothing'"):
        audit_lake(lake, CALENDAR, dataset="nothing")
    with pytest.raises(UsageError, match="unknown variety"):
        audit_lake(lake, CALENDAR, varieties=["zz"])


def test_what_a_killed_writer_leaves_is_no_finding(lake: Lake) -> None:
    (ticks(lake).folder / ".part-0.parquet.77.tmp").write_bytes(b"half")
    (lake.day_path("ticks", OTHER, date(2025, 4, 9))).mkdir()
    assert audit_lake(lake, CALENDAR).ok


def test_a_schedule_is_read_once_however_many_days_it_has(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def counted(data: Path, variety: str) -> RollSchedule:
        read.append(variety)
        return load_schedule(data, variety)

    monkeypatch.setattr(audit, "load_schedule", counted)
    days = {day for _, _, day in audit._days_on_disk(lake, ("ticks", "main_l5"))[0]}
    assert audit_lake(lake, CALENDAR).ok and len(days) > 1 and read == ["cu"], "its hashes take a while to check"


def test_progress_tells_days_and_rows(lake: Lake) -> None:
    seen: list[tuple[int, int, int]] = []
    report = audit_lake(lake, CALENDAR, progress=lambda *numbers: seen.append(numbers))
    assert seen[-1] == (report.days, report.days, report.rows) and [n for n, _, _ in seen] == sorted(
        n for n, _, _ in seen
    )


def test_a_day_that_a_newer_list_calls_a_holiday_is_named_and_stays(lake: Lake) -> None:
    before = {path: path.stat().st_mtime_ns for path in lake.root.rglob("*.parquet")}
    for calendar, told in (
        (TradingCalendar([*CALENDAR.holidays, DAY], CALENDAR.first, CALENDAR.last), "calls it a holiday"),
        (TradingCalendar(CALENDAR.holidays, CALENDAR.first, date(2025, 4, 2)), "ends before"),
    ):
        report = audit_lake(lake, calendar, start=DAY, end=DAY)
        named = [finding for finding in report.findings if finding.kind == "no_trading_day"]
        assert {(finding.dataset, finding.day) for finding in named} >= {
            (name, str(DAY)) for name in ("ticks", "main_l5", "features", "labels")
        }
        assert all(told in finding.detail for finding in named)
        assert not [finding for finding in report.findings if finding.kind in ("wrong_day", "differs_from_raw")]
    assert before == {path: path.stat().st_mtime_ns for path in lake.root.rglob("*.parquet")}
