"""What was edited under a data set is refused before a model learns from it, as the audit would name it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ghtrader_base.errors import IntegrityError
from ghtrader_base.files import read_checked_json, sha256_file, with_checksum, write_sidecar
from ghtrader_market.audit.audit import audit_lake
from ghtrader_market.main_series.main_l5 import build_main_l5
from ghtrader_market.reference.roll_schedule import save_schedule, schedule_from_open_interest
from ghtrader_market.reference.tick_schema import table_hash
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_models.datasets.build_day import build_day
from ghtrader_models.datasets.load import load_dataset
from ghtrader_models.datasets.windows import WindowSpec, open_windows
from ghtrader_models.factors.library.sets import get_factor_set
from ghtrader_models.labels.labels import LabelSpec
from tests.support import built

DAY, OTHER = built.DAYS[0], built.DAYS[1]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sound") / "data"
    built.build(root)
    return root


@pytest.fixture
def lake(sound: Path, tmp_path: Path) -> Lake:
    return Lake(shutil.copytree(sound, tmp_path / "data"))


def main_contract(lake: Lake) -> str:
    manifest = lake.manifest("main_l5", built.KEY, DAY)
    assert manifest is not None and manifest.main_l5.contract is not None
    return manifest.main_l5.contract


def edit_rows(lake: Lake, dataset: str, key: str, column: str, upto: str) -> None:
    """Change one value in a day's file; `upto` says what is made to agree with it: nothing, its sidecar, all of it."""
    folder = lake.day_path(dataset, key, DAY)
    (path,) = folder.glob("part-*.parquet")
    table = pq.read_table(path, partitioning=None)
    values = table.column(column).to_pylist()
    values[-1] = values[-1] + 1 if values[-1] is not None else 1
    place = table.schema.get_field_index(column)
    pq.write_table(table.set_column(place, column, pa.array(values, table.schema.field(column).type)), path)
    if upto != "file":
        write_sidecar(path)
    if upto == "manifest":
        manifest = folder / "_manifest.json"
        document, _ = read_checked_json(manifest)
        document["files"] = {path.name: sha256_file(path)}
        manifest.write_text(json.dumps(with_checksum(document)))


def roll_elsewhere(lake: Lake) -> None:
    """The schedule as other open interest would have it."""
    bars = built.bars(built.history(), bundled_calendar().days(built.SCENARIO.start, built.LAST)).to_pylist()
    later = "SHFE.cu2507"
    for row in bars:
        row["open_interest"] = 9e6 if row["symbol"] == later else row["open_interest"]
    save_schedule(lake.root, schedule_from_open_interest("cu", pa.Table.from_pylist(bars)))


def ticks_again(lake: Lake) -> None:
    contract = main_contract(lake)
    table = lake.read_day("ticks", contract, DAY)
    lake.write_day("ticks", contract, DAY, table.slice(0, table.num_rows - 1), source="t")


def labels_again(lake: Lake) -> None:
    """Labels that somebody turned round, written as any day is."""
    table, manifest = lake.read_day("labels", built.KEY, DAY), lake.manifest("labels", built.KEY, DAY)
    assert manifest is not None
    place = table.schema.get_field_index("label_50")
    turned = pa.array([2 if value == 1 else value for value in table.column("label_50").to_pylist()], pa.int8())
    lake.write_day(
        "labels", built.KEY, DAY, table.set_column(place, "label_50", turned), schema=table.schema,
        source=manifest.source, details=manifest.details,
    )  # fmt: skip


EDITS: dict[str, tuple[Callable[[Lake], None], str]] = {
    "features, file": (lambda lake: edit_rows(lake, "features", built.KEY, "spread", "file"), "features of KQ"),
    "features, sidecar too": (lambda lake: edit_rows(lake, "features", built.KEY, "spread", "sidecar"), "features of"),
    "features, manifest too": (lambda lake: edit_rows(lake, "features", built.KEY, "spread", "manifest"), "its rows"),
    "labels, file": (lambda lake: edit_rows(lake, "labels", built.KEY, "mid", "file"), "labels of KQ"),
    "labels, manifest too": (lambda lake: edit_rows(lake, "labels", built.KEY, "mid", "manifest"), "labels of KQ"),
    "labels written anew": (labels_again, "label_50 has"),
    "main_l5": (lambda lake: edit_rows(lake, "main_l5", built.KEY, "bid_price1", "manifest"), "main_l5|its mid"),
    "main_l5, file": (lambda lake: edit_rows(lake, "main_l5", built.KEY, "ask_volume3", "file"), "main_l5 of KQ"),
    "raw ticks": (lambda lake: edit_rows(lake, "ticks", main_contract(lake), "volume", "file"), "ticks of SHFE.cu25"),
    "raw ticks written anew": (ticks_again, "ticks of SHFE.cu25.* have changed since it was built"),
    "roll schedule": (roll_elsewhere, "the roll schedule says"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_day_is_refused_as_the_audit_refuses_it(lake: Lake, tmp_path: Path, edit: str) -> None:
    change, told = EDITS[edit]
    load_dataset(lake, built.KEY, built.DAYS, 50, cache=tmp_path / "cache")
    change(lake)
    assert not audit_lake(lake, bundled_calendar()).ok
    for cache in (None, tmp_path / "cache", tmp_path / "new"):
        with pytest.raises(IntegrityError, match=told) as refused:
            load_dataset(lake, built.KEY, built.DAYS, 50, cache=cache)
        assert "2025-04-0" in refused.value.message and "audit" in refused.value.hint


@pytest.mark.parametrize("edit", ["features, file", "features, manifest too", "main_l5, file", "roll schedule"])
def test_windows_refuse_it_too(lake: Lake, tmp_path: Path, edit: str) -> None:
    cache = tmp_path / "cache"
    open_windows(lake, cache, built.KEY, built.DAYS, WindowSpec(5, horizon=50))
    EDITS[edit][0](lake)
    with pytest.raises(IntegrityError):
        open_windows(lake, cache, built.KEY, built.DAYS, WindowSpec(5, horizon=50))


def test_a_sound_home_is_read_and_raw_ticks_may_be_elsewhere(lake: Lake) -> None:
    whole = load_dataset(lake, built.KEY, built.DAYS, 50)
    assert whole.days == tuple(built.DAYS) and whole.left_out == ()
    for key in lake.keys("ticks"):
        shutil.rmtree(lake.key_path("ticks", key))
    (lake.root / "schedules" / "cu.json").unlink()
    assert load_dataset(lake, built.KEY, built.DAYS, 50).facts == whole.facts


@pytest.mark.parametrize("upto", ["file", "sidecar", "manifest"])
def test_building_again_mends_what_was_edited(lake: Lake, upto: str) -> None:
    """Equal content keeps its file, but only where the file has that content."""
    before = lake.manifest("features", built.KEY, DAY)
    edit_rows(lake, "features", built.KEY, "spread", upto)
    build_day(lake, built.KEY, DAY, get_factor_set("lean"), LabelSpec(), run_id="again", overwrite=True)
    after = lake.manifest("features", built.KEY, DAY)
    assert before is not None and after is not None and after.content_hash == before.content_hash
    assert table_hash(lake.read_day("features", built.KEY, DAY)) == before.content_hash
    assert audit_lake(lake, bundled_calendar()).ok
    load_dataset(lake, built.KEY, built.DAYS, 50)


def test_a_changed_schedule_is_followed_by_main_l5_and_build(lake: Lake) -> None:
    """What the refusal's hint says."""
    roll_elsewhere(lake)
    from ghtrader_market.reference.roll_schedule import load_schedule

    schedule = load_schedule(lake.root, "cu")
    build_main_l5(lake, bundled_calendar(), schedule, built.DAYS).raise_if_failed()
    for day in built.DAYS:
        build_day(lake, built.KEY, day, get_factor_set("lean"), LabelSpec(), run_id="again")
    assert load_dataset(lake, built.KEY, built.DAYS, 50).facts[0].contract == "SHFE.cu2507"
