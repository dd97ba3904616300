"""Bundles of a home against versions of its registry: each kind of difference is named, and nothing else."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from ghtrader_models.bundles.bundle import load_bundle
from ghtrader_models.registry.consistency import Difference, StoredBundle, compare
from ghtrader_models.registry.mlflow_tracking import RegisteredBundle
from tests.support.runtime_kit import write_tiny_bundle

MODEL = "KQ.m-SHFE.cu-h50"


@pytest.fixture
def copies(tmp_path: Path) -> dict[str, Path]:
    """Two bundles, as MLflow keeps them."""
    written = [write_tiny_bundle(tmp_path, enter=enter) for enter in (0.3, 0.4)]
    return {path.name: path for path in written}


def kinds(
    bundles: dict[str, StoredBundle], versions: list[RegisteredBundle], champion: str = ""
) -> list[tuple[str, Difference]]:
    found = compare(bundles, versions, {MODEL: champion} if champion else {})
    return [(each.version or each.bundle_id, each.kind) for each in found]


def test_each_difference_has_its_name(copies: dict[str, Path]) -> None:
    one, other = copies
    bundles = {name: StoredBundle(MODEL, by_pipeline=True) for name in copies}
    first = RegisteredBundle(MODEL, "1", one, ("champion",), copies[one])
    second = RegisteredBundle(MODEL, "2", other, ("challenger",), copies[other])
    assert kinds(bundles, [first, second], one) == []
    assert kinds(bundles, [replace(first, copy=None), second], one) == [], "a copy elsewhere is not looked at"
    assert kinds(bundles, [first], one) == [(other, Difference.NOT_REGISTERED)]
    assert kinds({one: bundles[one]}, [first, second], one) == [("2", Difference.BUNDLE_GONE)]
    lost = replace(second, copy=Path("nowhere"))
    assert kinds({one: bundles[one]}, [first, lost], one) == [("2", Difference.BUNDLE_LOST)]
    assert kinds(bundles, [first, lost], one) == [("2", Difference.COPY_DAMAGED)]
    swapped = replace(second, copy=copies[one])
    assert kinds(bundles, [first, swapped], one) == [("2", Difference.COPY_DAMAGED)]
    twice = replace(first, version="3", aliases=())
    assert kinds(bundles, [twice, first, second], one) == [("3", Difference.REGISTERED_TWICE)]
    nameless = replace(second, bundle_id="")
    assert kinds(bundles, [first, nameless], one) == [("2", Difference.BUNDLE_LOST), (other, Difference.NOT_REGISTERED)]
    assert kinds(bundles, [first, second], other) == [(other, Difference.CHAMPION_DIFFERS)]
    assert kinds(bundles, [replace(first, aliases=()), second], one) == [(one, Difference.CHAMPION_DIFFERS)]
    assert kinds(bundles, [first, second]) == [("1", Difference.CHAMPION_DIFFERS)]


def test_a_bundle_that_no_run_made_need_not_be_registered(copies: dict[str, Path]) -> None:
    one, other = copies
    loaded = load_bundle(copies[one])
    by_hand = {name: StoredBundle(MODEL, by_pipeline=False) for name in copies}
    assert StoredBundle.of(loaded) == by_hand[one]
    assert kinds(by_hand, [], one) == []
    elsewhere = {one: StoredBundle("KQ.m-SHFE.au-h50", by_pipeline=False)}
    version = RegisteredBundle(MODEL, "1", one, (), copies[one])
    assert kinds(elsewhere, [version]) == [("1", Difference.BUNDLE_GONE)]
    shutil.rmtree(copies[other])
