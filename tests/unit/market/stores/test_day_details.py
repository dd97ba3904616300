"""What manifests say is read into structs and written back: the same bytes, and nothing that is not known gets lost."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghtrader_base.errors import IntegrityError
from ghtrader_base.files import read_checked_json, with_checksum
from ghtrader_market.stores.day_details import (
    DayDetails,
    FeatureDetails,
    LabelDetails,
    MainDayDetails,
    QualityRecord,
    Recording,
    TickDetails,
    details_type,
    read_details,
)
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_market.stores.lake.manifests import MANIFEST, DayManifest

OLDER = Path(__file__).parents[3] / "fixtures" / "home_fd3b953.tar.xz"
SYMBOL, DAY = "SHFE.cu2502", date(2025, 1, 6)
TIMES = 1_736_125_200_000_000_000 + 500_000_000 * np.arange(40)
DATASETS = ("ticks", "ticks_l1", "main_l5", "features", "labels", "daily_bars")
FEATURES: dict[str, Any] = {
    "spec_hash": "a", "factor_set": {"language": 1, "name": "lean", "factors": [["f1", "mid"], ["f2", "spread"]]},
    "factor_set_hash": "b", "levels": 5, "left_out": [], "warm_up_ticks": 0, "schema_version": 2,
    "main_l5_content_hash": "c", "segment_id": 0, "schedule_hash": "d",
    "context": {"contract": SYMBOL, "price_tick": 10.0, "multiplier": 5, "sessions": [[1, 2], [3, 4]]},
    "quality": {"overall_state": "ready", "reason_code": "ok"},
}  # fmt: skip
LABELS: dict[str, Any] = {
    "spec_hash": "a", "label_spec": {"definition": "cost_aware", "horizons": [10, 50], "threshold_ticks": 1},
    "counts": {"label_10": [10, 1, 2, 3], "label_50": [50, 0, 0, 0]},
    "fees": {"open_ratio": 5e-05, "open_lot": 0.0, "close_ratio": 5e-05, "close_lot": 0.0, "close_today_ratio": 0.0,
             "close_today_lot": 0.0},
    "schema_version": 2, "ticks_content_hash": "c", "segment_id": 3, "schedule_hash": "d",
    "context": {"contract": SYMBOL, "price_tick": 0.02, "multiplier": 1000, "sessions": []},
}  # fmt: skip
MAIN: dict[str, Any] = {
    "contract": SYMBOL, "segment_id": 0, "schedule_hash": "d", "raw_content_hash": "e", "raw_rows": 7,
    "dropped_outside_sessions": 0,
}  # fmt: skip
TICKS: dict[str, Any] = {
    "dropped_duplicates": 3, "stale_rows": 1, "swapped_rows": 2, "missing_columns": ["volume"], "volume_missing": True,
    "recorded": {"missed": 0, "ended": False},
    "replaced": {"source": "recorded", "run_id": "", "rows": 1, "content_hash": "f"},
    "origin": {"kind": "simulated", "service": "ghtrader exchange", "world": "driver", "seed": 1, "scenario": "e"},
}  # fmt: skip
WRITTEN = {"ticks": TICKS, "main_l5": MAIN, "features": FEATURES, "labels": LABELS, "daily_bars": {}}


@pytest.fixture(scope="module")
def older() -> Iterator[dict[str, str]]:
    """Manifests of a home of an older version: path -> text."""
    with tarfile.open(OLDER) as archive:
        files = (member for member in archive if member.name.endswith(f"/{MANIFEST}"))
        yield {member.name: archive.extractfile(member).read().decode() for member in files}  # type: ignore[union-attr]


def test_manifests_of_an_older_home_are_written_back_byte_for_byte(older: dict[str, str]) -> None:
    kinds = [name.split("/")[-4] for name in older]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {
        "ticks": 27, "main_l5": 8, "features": 8, "labels": 8, "daily_bars": 9,
    }  # fmt: skip
    for name, text in older.items():
        manifest = DayManifest.from_json(json.loads(text))
        assert json.dumps(manifest.to_json(), indent=2, ensure_ascii=False) + "\n" == text, name
        assert type(manifest.details) is details_type(manifest.dataset) and not manifest.details.unknown, name


@pytest.mark.parametrize("dataset", WRITTEN)
def test_every_key_has_a_field_and_keeps_its_place(dataset: str) -> None:
    found = read_details(dataset, WRITTEN[dataset])
    assert json.dumps(found.to_json()) == json.dumps(WRITTEN[dataset]) and not found.unknown
    given_fields = {name for name in vars(found) if name != "unknown" and getattr(found, name) is not None}
    assert given_fields == set(WRITTEN[dataset])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(sorted({key for known in WRITTEN.values() for key in known} | {"a new key"}))


@given(dataset=st.sampled_from(DATASETS), known=st.sampled_from(list(WRITTEN.values())),
       changes=st.dictionaries(names, json_values, max_size=4), inner=json_values)  # fmt: skip
def test_whatever_another_version_wrote_comes_back_as_it_was(
    dataset: str, known: dict[str, Any], changes: dict[str, Any], inner: Any
) -> None:
    document = {**known, **changes}
    for part in ("context", "quality", "recorded", "replaced", "factor_set", "label_spec", "fees", "origin"):
        if isinstance(document.get(part), dict):
            document[part] = {**document[part], "added": inner}
    back = read_details(dataset, document).to_json()
    assert back == document
    assert json.dumps(back, sort_keys=True) == json.dumps(document, sort_keys=True)


def test_what_is_not_of_its_type_is_not_taken_for_it() -> None:
    odd = {**FEATURES, "schema_version": "two", "levels": True, "segment_id": None, "context": {"contract": 5}}
    found = read_details("features", odd)
    assert isinstance(found, FeatureDetails) and found.spec_hash == "a"
    assert (found.schema_version, found.levels, found.segment_id, found.context) == (None, None, None, None)
    assert set(found.unknown) == {"schema_version", "levels", "segment_id", "context"}
    newer = read_details("features", {**FEATURES, "quality": {"overall_state": "ready", "by": "a person"}})
    assert isinstance(newer, FeatureDetails)
    assert newer.quality == QualityRecord(overall_state="ready", unknown={"by": "a person"})


def test_the_lake_keeps_details_and_refuses_those_of_another_dataset(tmp_path: Path, make_ticks: Any) -> None:
    lake, table = Lake(tmp_path), make_ticks(TIMES)
    details = replace(TickDetails(dropped_duplicates=2), unknown={"a new key": [1, {"b": None}]})
    written = lake.write_day("ticks", SYMBOL, DAY, table, source="test", details=details)
    assert lake.manifest("ticks", SYMBOL, DAY) == written and written.ticks == details
    assert json.loads((lake.day_path("ticks", SYMBOL, DAY) / MANIFEST).read_text())["extra"] == {
        "dropped_duplicates": 2, "a new key": [1, {"b": None}],
    }  # fmt: skip
    with pytest.raises(IntegrityError, match="is given MainDayDetails"):
        lake.write_day("ticks", SYMBOL, DAY, table, source="test", details=MainDayDetails())
    with pytest.raises(IntegrityError, match=f"ticks of {SYMBOL} on {DAY} has no FeatureDetails"):
        _ = written.features


def test_a_recorded_day_is_named_by_what_replaces_it_whatever_version_wrote_that(
    tmp_path: Path, make_ticks: Any
) -> None:
    lake, table = Lake(tmp_path), make_ticks(TIMES)
    recorded = TickDetails(recorded=Recording(missed=1, ended=True))
    lake.write_day("ticks", SYMBOL, DAY, table, source="recorded", run_id="r", details=recorded)
    first = lake.write_day("ticks", SYMBOL, DAY, table, source="tqsdk").ticks
    assert first.was_replaced and first.to_json()["replaced"] == {
        "source": "recorded", "run_id": "r", "rows": 40,
        "content_hash": lake.manifest("ticks", SYMBOL, DAY).content_hash,
    }  # fmt: skip
    assert lake.write_day("ticks", SYMBOL, DAY, table, source="tqsdk").ticks == first
    path = lake.day_path("ticks", SYMBOL, DAY) / MANIFEST
    for odd in ("a day recorded live", ["by", "another version"]):
        document, _ = read_checked_json(path)
        path.write_text(json.dumps(with_checksum({**document, "extra": {"replaced": odd}})))
        again = lake.write_day("ticks", SYMBOL, DAY, table, source="tqsdk").ticks
        assert again.was_replaced and again.to_json() == {"replaced": odd}


def test_a_manifest_that_lacks_what_is_needed_says_what(tmp_path: Path, make_ticks: Any) -> None:
    lake = Lake(tmp_path)
    for dataset, details in (("features", FeatureDetails()), ("labels", LabelDetails())):
        lake.write_day(dataset, SYMBOL, DAY, make_ticks(TIMES), source="main_l5", details=details)
    features, labels = (lake.manifest(dataset, SYMBOL, DAY) for dataset in ("features", "labels"))
    for ask, what in (
        (lambda: features.factor_set, "the factors of features of"),
        (lambda: features.context, "contract and price tick of features of"),
        (lambda: labels.segment_id, "the segment of labels of"),
        (lambda: labels.label_spec, "the definition of labels of"),
    ):
        with pytest.raises(IntegrityError, match=f"does not say {what} {SYMBOL} on {DAY}"):
            ask()
    path = lake.day_path("labels", SYMBOL, DAY) / MANIFEST
    document, _ = read_checked_json(path)
    path.write_text(json.dumps(with_checksum({**document, "extra": []})))
    with pytest.raises(IntegrityError, match="is no manifest: extra is no object"):
        lake.manifest("labels", SYMBOL, DAY)
    assert details_type("daily_bars") is DayDetails
