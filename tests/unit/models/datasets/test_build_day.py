"""Building a day: what is written, what is skipped, what is refused, and that a refusal leaves nothing behind."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pyarrow as pa
import pytest

from ghtrader_base.errors import FailedError, IntegrityError, RefusedError, UsageError
from ghtrader_market.reference.tick_schema import COLUMN_INDEX, MAIN_L5_SCHEMA, PROVENANCE_COLUMNS, table_from_values
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.reference.varieties import FeeRates, get_variety
from ghtrader_market.stores.day_details import QualityRecord
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_models.bundles.schema_versions import SCHEMA_VERSION
from ghtrader_models.datasets.build_day import QualityVerdict, build_day
from ghtrader_models.datasets.tick_input import contract_schedule_hash, source_kind
from ghtrader_models.factors.engine import FactorEngine
from ghtrader_models.factors.factor_set import FactorSet, FactorSetSpec
from ghtrader_models.factors.language.parser import parse
from ghtrader_models.factors.library.sets import get_factor_set
from ghtrader_models.labels.labels import LabelSpec, compute_labels, event_labels, mid_prices

SYMBOL, CONTRACT = "KQ.m@SHFE.cu", "SHFE.cu2502"
DAY, NEXT = date(2024, 12, 3), date(2024, 12, 4)
LEAN, SPEC = get_factor_set("lean"), LabelSpec()


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake(tmp_path / "data")


@pytest.fixture
def store(lake, make_ticks):
    """A function that writes a main_l5 day and returns its times and values."""

    def write(day=DAY, seed=0, n=400, levels=5, change=lambda table: table):
        times, values = make_ticks(n, seed)
        for level in range(levels + 1, 6):
            for side in ("bid", "ask"):
                values[COLUMN_INDEX[f"{side}_price{level}"]] = np.nan
                values[COLUMN_INDEX[f"{side}_volume{level}"]] = 0
        raw = table_from_values(np.arange(n), times, values)
        provenance = [pa.array([CONTRACT] * n), pa.array([0] * n, pa.int32()), pa.array(["abc"] * n)]
        table = change(pa.table([*raw.columns, *provenance], schema=MAIN_L5_SCHEMA))
        lake.write_day("main_l5", SYMBOL, day, table, schema=table.schema, source="test", run_id="r")
        return times, values

    return write


def build(lake, day=DAY, factor_set=LEAN, label_spec=SPEC, **options):
    return build_day(lake, SYMBOL, day, factor_set, label_spec, run_id="run", **options)


def test_features_are_the_batch_and_labels_are_the_labels(lake, store):
    times, values = store()
    result = build(lake)
    assert not result.skipped
    features, labels = lake.read_day("features", SYMBOL, DAY), lake.read_day("labels", SYMBOL, DAY)
    assert features.column_names == ["datetime_ns", *LEAN.names, *PROVENANCE_COLUMNS]
    assert labels.column_names == ["datetime_ns", "mid", "label_10", "label_50", "label_200", *PROVENANCE_COLUMNS]
    expected = FactorEngine(LEAN, 10.0, 5).batch(times, values)
    stored = np.column_stack([features.column(name).to_numpy() for name in LEAN.names])
    assert (stored.view(np.uint32) == expected.view(np.uint32)).all()
    mid = mid_prices(values)
    assert (labels.column("mid").to_numpy() == mid).all()
    for horizon in SPEC.horizons:
        wanted = event_labels(mid, horizon, 1, price_tick=10.0)
        assert labels.column(f"label_{horizon}").to_numpy().tolist() == wanted.tolist()
    for table in (features, labels):
        assert (table.column("datetime_ns").to_numpy() == times).all()
        assert set(table.column("underlying_contract").to_pylist()) == {CONTRACT}


def test_manifests_say_what_went_in(lake, store):
    store()
    build(lake)
    source = lake.manifest("main_l5", SYMBOL, DAY)
    features, labels = lake.manifest("features", SYMBOL, DAY), lake.manifest("labels", SYMBOL, DAY)
    assert features.features.spec_hash == LEAN.spec_hash
    assert FactorSetSpec.from_dict(features.factor_set.to_json()) == LEAN.spec()
    assert features.features.levels == 5 and features.features.left_out == ()
    assert LabelSpec.from_dict(labels.label_spec.to_json()) == SPEC
    for horizon in SPEC.horizons:
        none, *classes = labels.labels.counts[f"label_{horizon}"]
        assert none == horizon and sum(classes) == 400 - horizon
    for manifest in (features, labels):
        assert manifest.built.main_l5_content_hash == source.content_hash
        assert manifest.context.to_json() == {
            "contract": CONTRACT,
            "price_tick": 10.0,
            "multiplier": 5,
            "sessions": [],
        }
        assert manifest.run_id == "run" and manifest.code_version
        assert manifest.built.schema_version == SCHEMA_VERSION
        assert (manifest.segment_id, manifest.built.schedule_hash) == (0, "abc")


def test_the_same_inputs_give_the_same_content(lake, store):
    store()
    first = build(lake)
    second = build(lake, overwrite=True)
    assert not second.skipped
    assert second.features.content_hash == first.features.content_hash
    assert second.labels.content_hash == first.labels.content_hash


def test_a_day_that_is_current_is_skipped_and_a_changed_one_is_not(lake, store):
    store()
    first = build(lake)
    again = build(lake)
    assert again.skipped and again.features == first.features and again.labels == first.labels
    store(seed=1)
    changed = build(lake)
    assert not changed.skipped and changed.features.content_hash != first.features.content_hash
    lake.delete_day("labels", SYMBOL, DAY)
    assert not build(lake).skipped
    assert build(lake).skipped


def test_another_configuration_is_refused_until_overwrite(lake, store):
    store()
    store(NEXT, seed=2)
    first = build(lake)
    other_factors = FactorSet("mine", {"m": parse("Mid()")})
    for options in ({"factor_set": other_factors}, {"label_spec": LabelSpec(threshold_ticks=2)}):
        for day in (DAY, NEXT):
            with pytest.raises(RefusedError, match="another configuration"):
                build(lake, day, **options)
    assert lake.manifest("features", SYMBOL, DAY) == first.features
    assert not lake.has_day("features", SYMBOL, NEXT)
    replaced = build(lake, factor_set=other_factors, overwrite=True)
    assert replaced.features.features.spec_hash == other_factors.spec_hash


def test_one_level_days_get_the_shallow_set_and_say_so(lake, store):
    store(levels=1)
    result = build(lake)
    shallow, left_out = LEAN.restrict_levels(1)
    assert result.left_out == left_out
    details = result.features.features
    assert details.left_out == left_out and details.levels == 1
    names = lake.read_day("features", SYMBOL, DAY).column_names
    assert names == ["datetime_ns", *shallow.names, *PROVENANCE_COLUMNS]
    assert build(lake).skipped and build(lake).left_out == left_out


def test_a_day_without_volume_has_no_volume_factors(lake, store):
    def without_volume(table):
        gone = pa.nulls(table.num_rows, pa.int64())
        return table.set_column(table.column_names.index("volume"), table.schema.field("volume"), gone)

    store(change=without_volume)
    kept = FactorSet("kept", {"spread": parse("Spread()"), "ofi": parse("Ofi(1)")})
    mixed = FactorSet(
        "mixed", {**kept.expressions, "lots": parse("Sum(SignedVolume(), 20)"), "day": parse("DayVolume()")}
    )
    result = build(lake, factor_set=mixed)
    assert result.left_out == ("lots", "day")
    assert lake.read_day("features", SYMBOL, DAY).column_names == ["datetime_ns", *kept.names, *PROVENANCE_COLUMNS]
    with pytest.raises(UsageError, match="reads volume, which these ticks do not have"):
        build(lake, factor_set=FactorSet("lots", {"lots": parse("VolumeDelta()")}), overwrite=True)
    assert build(lake, factor_set=LEAN, overwrite=True).left_out  # and a set of the library goes on without


def test_a_factor_of_the_session_gets_the_days_bounds(lake, store):
    store()
    timed = FactorSet("timed", {"t": parse("SessionTime()")})
    assert len(build(lake, factor_set=timed).features.context.sessions) == 4
    assert build(lake, factor_set=timed).skipped


def test_a_day_that_is_not_there_is_refused(lake):
    with pytest.raises(FailedError, match="no main_l5 .* 2024-12-03"):
        build(lake)


def without(name):
    return lambda table: table.drop_columns([name])


def replaced(name, values):
    def change(table):
        field = table.schema.field(name)
        return table.set_column(table.schema.get_field_index(name), field, pa.array(values(len(table)), field.type))

    return change


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        *[(without(name), f"no column {name}") for name in PROVENANCE_COLUMNS],
        (replaced("segment_id", lambda n: [0] * (n - 1) + [None]), "without segment_id"),
        (replaced("segment_id", lambda n: [None] * n), "without segment_id"),
        (replaced("segment_id", lambda n: [-1] * n), "without segment_id"),
        (replaced("schedule_hash", lambda n: [""] * n), "without schedule_hash"),
        (replaced("segment_id", lambda n: [0] * 5 + [1] * (n - 5)), "mixes 2 values of segment_id"),
        (replaced("underlying_contract", lambda n: ["SHFE.cu2503"] + [CONTRACT] * (n - 1)), "mixes 2 values"),
        (lambda table: table.slice(0, 0), "no rows"),
        (replaced("bid_price1", lambda n: [70003.0] * n), "off the grid of 10"),
    ],
)
def test_a_day_that_is_not_whole_is_refused_by_name_and_the_others_build(lake, store, change, reason):
    store(change=change)
    store(NEXT)
    with pytest.raises(IntegrityError) as refusal:
        build(lake)
    assert reason in refusal.value.message
    assert "2024-12-03" in refusal.value.message
    assert not lake.has_day("features", SYMBOL, DAY) and not lake.has_day("labels", SYMBOL, DAY)
    assert not build(lake, NEXT).skipped


def test_bytes_that_nobody_vouches_for_are_not_built_from(lake, store):
    store()
    assert not build(lake).skipped and build(lake).skipped
    folder = lake.day_path("main_l5", SYMBOL, DAY)
    (file,) = folder.glob("part-*.parquet")
    whole = file.read_bytes()
    table = lake.read_day("main_l5", SYMBOL, DAY)
    import pyarrow.parquet as pq

    pq.write_table(without("segment_id")(table), file)  # behind the manifest's back, and yet it is named
    with pytest.raises(IntegrityError, match="2024-12-03 has no column segment_id"):
        build(lake)
    pq.write_table(table, file, compression="gzip")
    with pytest.raises(IntegrityError, match="not what its manifest says"):
        build(lake)
    file.write_bytes(whole)
    assert build(lake).skipped


@pytest.mark.parametrize("definition", ["smoothed", "smoothed_mid", "cost_aware"])
def test_every_definition_is_built_and_kept_by_name(lake, store, definition):
    times, values = store()
    spec = LabelSpec.named(definition, (5, 20))
    result = build(lake, label_spec=spec)
    assert result.labels.label_spec.to_json() == spec.to_dict() and build(lake, label_spec=spec).skipped
    labels = lake.read_day("labels", SYMBOL, DAY)
    fees = get_variety("cu").fees(CONTRACT, DAY)
    assert (result.labels.labels.fees is not None) == (definition == "cost_aware")
    bid, ask = (values[COLUMN_INDEX[f"{side}_price1"]] for side in ("bid", "ask"))
    expected = compute_labels(spec, bid, ask, price_tick=10.0, fees=fees, multiplier=5)
    for name, row in zip(spec.columns, expected, strict=True):
        assert labels.column(name).to_numpy().tolist() == row.tolist()


def test_fees_that_change_make_cost_aware_labels_anew(lake, store, monkeypatch):
    store()
    spec = LabelSpec.named("cost_aware", (5,))
    build(lake, label_spec=spec)
    dearer = FeeRates(open_lot=500.0)
    monkeypatch.setattr("ghtrader_market.reference.varieties.Variety.fees", lambda self, contract, day: dearer)
    again = build(lake, label_spec=spec)
    assert not again.skipped and again.labels.labels.fees.open_lot == 500.0
    assert build(lake, label_spec=spec).skipped


def test_the_quality_gate_refuses_and_what_it_accepts_is_written_down(lake, store):
    store()
    record = QualityRecord(overall_state="not_ready", reason_code="gap")
    refused = QualityVerdict(record, FailedError("not ready: gap", "--accept-quality"))
    with pytest.raises(FailedError, match="not ready: gap"):
        build(lake, gate=lambda day: refused)
    assert not lake.has_day("features", SYMBOL, DAY)
    accepted = QualityVerdict(replace(record, accepted=True))
    built = build(lake, gate=lambda day: accepted)
    for manifest in (built.features, built.labels):
        assert manifest.built.quality.to_json() == {
            "overall_state": "not_ready", "reason_code": "gap", "accepted": True,
        }  # fmt: skip
    assert build(lake, gate=lambda day: accepted).skipped
    with pytest.raises(FailedError, match="not ready"):  # what was accepted once is asked for again
        build(lake, gate=lambda day: refused)
    store(change=without("segment_id"))
    with pytest.raises(IntegrityError, match="segment_id"):  # what is broken is said before what is doubtful
        build(lake, gate=lambda day: refused)


def test_days_of_another_schema_version_are_refused_until_overwrite(lake, store):
    store()
    built = build(lake)
    for version, hint in ((1, "--overwrite"), (SCHEMA_VERSION + 1, "newer ghtrader")):
        table = lake.read_day("features", SYMBOL, DAY)
        details = replace(built.features.features, schema_version=version)
        lake.write_day("features", SYMBOL, DAY, table, source="main_l5", run_id="old", details=details)
        with pytest.raises(RefusedError, match=f"schema version {version}") as refusal:
            build(lake)
        assert hint in refusal.value.hint
    assert build(lake, overwrite=True).features.built.schema_version == SCHEMA_VERSION


def test_one_contract_is_built_from_its_own_ticks_inside_the_sessions(lake, make_ticks):
    (start, _), *_ = bundled_calendar().sessions("cu", DAY)
    _, values = make_ticks(300, 4)
    times = start - 60_000_000_000 + np.arange(300) * 500_000_000  # the first 120 ticks lie before the open
    lake.write_day("ticks", CONTRACT, DAY, table_from_values(np.arange(300), times, values), source="test")
    built = build_day(lake, CONTRACT, DAY, LEAN, SPEC, run_id="run", kind="ticks")
    assert built.features.rows == built.labels.rows == 180 and built.features.source == "ticks"
    assert built.features.built.schedule_hash == contract_schedule_hash(CONTRACT)
    stored = lake.read_day("features", CONTRACT, DAY)
    expected = FactorEngine(LEAN, 10.0, 5).batch(times[120:], values[:, 120:])
    found = np.column_stack([stored.column(name).to_numpy() for name in LEAN.names])
    assert (found.view(np.uint32) == expected.view(np.uint32)).all()
    assert set(stored.column("segment_id").to_pylist()) == {0}
    assert build_day(lake, CONTRACT, DAY, LEAN, SPEC, run_id="run", kind="ticks").skipped
    with pytest.raises(FailedError, match="no ticks of SHFE.cu2502 on 2024-12-04") as missing:
        build_day(lake, CONTRACT, NEXT, LEAN, SPEC, run_id="run", kind="ticks")
    assert "ghtrader download --symbol SHFE.cu2502" in missing.value.hint


def test_the_snapshots_that_end_a_session_are_examples_and_know_its_age(lake, make_ticks):
    """Built by an older rule, without them, a day is built again; its own rule still computes it as it was."""
    sessions = bundled_calendar().sessions("cu", DAY)
    (_, end), (start, _) = sessions[1], sessions[2]
    _, values = make_ticks(300, 4)
    times = np.r_[end - 149 * 500_000_000 + np.arange(150) * 500_000_000, start + np.arange(150) * 500_000_000]
    lake.write_day("ticks", CONTRACT, DAY, table_from_values(np.arange(300), times, values), source="test")
    timed = FactorSet("timed", {"age": parse("SessionAge()"), "left": parse("SessionLeft()")})
    older = build_day(lake, CONTRACT, DAY, timed, SPEC, run_id="run", kind="ticks", rule=None)
    assert older.features.rows == 299 and "session_rule" not in older.features.built.to_json()
    built = build_day(lake, CONTRACT, DAY, timed, SPEC, run_id="run", kind="ticks")
    assert not built.skipped and built.features.rows == built.labels.rows == 300
    assert build_day(lake, CONTRACT, DAY, timed, SPEC, run_id="run", kind="ticks").skipped
    stored = lake.read_day("features", CONTRACT, DAY)
    assert stored.column("datetime_ns").to_numpy().tolist() == times.tolist()
    age, left = (stored.column(name).to_numpy() for name in ("age", "left"))
    assert age[149] == pytest.approx(75 * 60) and left[149] == pytest.approx(0.0, abs=1e-6) and left[148] == 0.5
    assert (age[150], left[150]) == (0.0, 3600.0)


def test_the_kind_of_ticks_goes_with_the_symbol():
    assert (source_kind(SYMBOL), source_kind(CONTRACT), source_kind(CONTRACT, "raw")) == ("main_l5", "ticks", "ticks")
    for symbol, kind in ((SYMBOL, "raw"), (CONTRACT, "main"), (CONTRACT, "cooked")):
        with pytest.raises(UsageError):
            source_kind(symbol, kind)
