"""Networks that are stepped: a day at once is row by row, a day has no past, damaged files are refused."""

from __future__ import annotations

import functools
import math
import pickle
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghtrader_base.errors import IntegrityError
from ghtrader_models.bundles.bundle import load_bundle
from ghtrader_models.inference.predictors import Predictor, StreamingPredictor, stepped_network
from ghtrader_models.inference.streaming.stepped_network import SteppedNetwork
from ghtrader_models.inference.streaming.tcn import receptive_field
from ghtrader_models.inference.streaming.weights_file import WEIGHTS_FILE, write_arrays
from tests.support.examples import examples
from tests.support.stepped_models import Arrays, SteppedModel, ssm, tcn, write_stepped_bundle
from tests.support.waiting import PATIENCE_S

ARRAYS: dict[str, Callable[..., Arrays]] = {"tcn": tcn, "ssm": ssm}
KINDS = tuple(ARRAYS)


def network(kind: str) -> SteppedNetwork:
    return stepped_network(kind, write_arrays(ARRAYS[kind]()))


def some_rows(n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n, 5)).astype(np.float32)
    rows[rng.random(rows.shape) < 0.05] = np.nan
    rows[rng.random(rows.shape) < 0.01] = np.inf
    rows[rng.random(n) < 0.05] = np.nan
    return rows


def smooth(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max())
    return e / e.sum()


def tcn_by_definition(arrays: Arrays, rows: np.ndarray) -> np.ndarray:
    """float64[3] of a window of rows, by the convolution's definition; rows before it are missing ones."""
    seen = receptive_field(3, 3)
    z = (np.vstack([np.full((seen, 5), np.nan), rows]) - arrays["mean"]) * arrays["scale"]
    x = np.where(np.isfinite(z), np.clip(z, -10, 10), 0.0)
    for level in range(3):
        name, h = f"blocks.{level}", x
        for part in ("first", "second"):
            weight, padded = arrays[f"{name}.{part}"], np.vstack([np.zeros((2 << level, h.shape[1])), h])
            shifted = [padded[(2 - lag << level) :][: len(h)] @ weight[lag] for lag in range(3)]
            h = np.maximum(sum(shifted) + arrays[f"{name}.{part}_bias"], 0)
        around = x @ arrays[f"{name}.around"] + arrays[f"{name}.around_bias"] if level == 0 else x
        x = np.maximum(h + around, 0)
    return smooth(x[-1] @ arrays["head"] + arrays["head_bias"])


@pytest.mark.parametrize("kind", KINDS)
def test_a_day_at_once_is_row_by_row_is_any_blocks_to_the_last_bit(kind: str) -> None:
    found, rows = network(kind), some_rows(300)
    whole = found.day(rows)
    np.testing.assert_allclose(whole.sum(axis=1), 1.0)
    assert np.unique(whole, axis=0).shape[0] > 200
    predictor = StreamingPredictor(found)
    assert np.array_equal(np.array([predictor.predict_row(row) for row in rows]), whole)
    state, blocks = found.fresh_state(), np.empty((300, 3))
    for a, b in pairwise((0, 1, 8, 9, 130, 131, 300)):
        found.step(state, rows[a:b], blocks[a:b])
    assert np.array_equal(blocks, whole)


@pytest.mark.parametrize("kind", KINDS)
def test_cold_rows_are_taken_in_and_a_scored_day_leaves_the_stepped_one_alone(kind: str) -> None:
    predictor, rows = StreamingPredictor(network(kind)), some_rows(60)
    whole = predictor.predict(rows)
    warm = np.arange(60) >= 20
    for row in rows[:20]:
        predictor.observe(row)
    kept = predictor.predict_row(rows[20])
    scored = predictor.predict_day(rows[::-1], warm)
    assert np.isnan(scored[:20]).all() and np.array_equal(scored[20:], predictor.predict(rows[::-1])[20:])
    assert np.array_equal(predictor.predict_row(rows[21]), whole[21])
    assert np.array_equal(kept, whole[20]), "a returned row must not be overwritten by the next call"


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_day_knows_nothing_of_the_one_before_and_a_state_never_grows(kind: str) -> None:
    predictor, rows = StreamingPredictor(network(kind)), some_rows(2_000)
    held = sum(part.nbytes for part in predictor._state)
    first = predictor.predict_row(rows[0])
    for row in rows:
        predictor.observe(row)
    assert sum(part.nbytes for part in predictor._state) == held < 20_000
    predictor.reset()
    assert np.array_equal(predictor.predict_row(rows[0]), first)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_a_tape_know_their_own_day_alone(kind: str) -> None:
    found, tape = network(kind), some_rows(100)
    day, asked = np.repeat(np.arange(3, dtype=np.int32), (30, 50, 20)), np.array([0, 29, 33, 60, 79, 80])
    expected = [found.day(tape[:30])[[0, 29]], found.day(tape[30:80])[[3, 30, 49]], found.day(tape[80:])[[0]]]
    assert np.array_equal(found.at_rows(tape, day, asked), np.vstack(expected))
    assert found.at_rows(tape, day, asked[:0]).shape == (0, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_infinite_counts_as_missing(kind: str) -> None:
    found, rows = network(kind), some_rows(50)
    assert np.array_equal(found.day(rows), found.day(np.where(np.isfinite(rows), rows, np.nan)))


def test_a_stepped_tcn_is_the_network_by_its_definition() -> None:
    arrays, rows = tcn(), some_rows(70)
    found = stepped_network("tcn", write_arrays(arrays))
    whole = found.day(rows)
    expected = [tcn_by_definition(arrays, rows[max(0, i - 39) : i + 1]) for i in range(70)]
    np.testing.assert_allclose(whole, expected, atol=1e-5, rtol=0)


def test_a_tcn_takes_what_is_before_the_day_for_missing_rows_and_forgets_what_it_does_not_see() -> None:
    found, rows, seen = network("tcn"), some_rows(80), receptive_field(3, 3)
    late = np.vstack([np.full((7, 5), np.nan, np.float32), rows])
    assert np.array_equal(found.day(late)[7:], found.day(rows))
    other = rows.copy()
    other[: 80 - seen] = 3.0
    assert np.array_equal(found.day(other)[-1], found.day(rows)[-1])
    other[80 - seen] = np.where(rows[80 - seen] == 3.0, -3.0, 3.0)
    assert not np.array_equal(found.day(other)[-1], found.day(rows)[-1])


def ssm_by_definition(arrays: Arrays, rows: np.ndarray) -> np.ndarray:
    """float64[3] of the last row of a day, by the convolution's definition; rows before it are missing ones."""
    memory = int(arrays["memory"][0])
    z = (np.vstack([np.full((2 * memory, 5), np.nan), rows]) - arrays["mean"]) * arrays["scale"]
    x = np.where(np.isfinite(z), np.clip(z, -10, 10), 0.0) @ arrays["project"] + arrays["project_bias"]
    for layer in range(2):
        part = {name.split(".")[2]: array for name, array in arrays.items() if name.startswith(f"layers.{layer}.")}
        centred = x - x.mean(axis=1, keepdims=True)
        u = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5) * part["norm"] + part["norm_bias"]
        pole = part["pole_real"] + 1j * part["pole_imag"]
        kernel = [((part["gain_real"] + 1j * part["gain_imag"]) * pole**lag).real.sum(axis=0) for lag in range(memory)]
        sums = u * part["through"]
        for lag in range(memory):
            sums[lag:] += kernel[lag] * u[: len(u) - lag]
        gelu = np.array([0.5 * v * (1 + math.erf(v / math.sqrt(2))) for v in sums.ravel()]).reshape(sums.shape)
        mixed = gelu @ part["mix"] + part["mix_bias"]
        x = x + mixed[:, :6] / (1 + np.exp(-mixed[:, 6:]))
    return smooth(x[-1] @ arrays["head"] + arrays["head_bias"])


def test_a_stepped_state_space_model_is_the_network_by_its_definition() -> None:
    arrays, rows = ssm(), some_rows(200)
    whole = stepped_network("ssm", write_arrays(arrays)).day(rows)
    for row in (0, 1, 39, 40, 100, 199):
        np.testing.assert_allclose(whole[row], ssm_by_definition(arrays, rows[: row + 1]), atol=2e-5, rtol=0)


def test_a_layers_memory_has_an_end_or_lasts_the_day() -> None:
    rows = some_rows(200)
    other = rows.copy()
    other[0] = 3.0
    for memory, apart in ((40, False), (0, True)):
        found = stepped_network("ssm", write_arrays(ssm(memory=memory)))
        assert (np.abs(found.day(other)[-1] - found.day(rows)[-1]).max() > 1e-9) == apart


def changed(kind: str, **arrays: np.ndarray | None) -> bytes:
    whole = ARRAYS[kind]()
    for name, array in arrays.items():
        whole.pop(name, None)
        if array is not None:
            whole[name] = array
    return write_arrays(whole)


@functools.cache
def damaged_files() -> list[tuple[str, bytes]]:
    nan, wide = np.full((6, 3), np.nan, np.float32), np.ones((6, 3), np.float32)
    pole = {f"layers.0.pole_{part}": np.full((4, 6), 0.8) for part in ("real", "imag")}
    return [
        *((kind, data) for kind in KINDS for data in (b"", pickle.dumps({}), b"{}", b"\xff" * 64)),
        *((kind, changed(kind, head=bad)) for kind in KINDS for bad in (None, nan, wide.astype(np.float64), wide.T)),
        *((kind, changed(kind, scale=np.zeros(5, np.float32))) for kind in KINDS),
        *((kind, changed(kind, mean=np.zeros((5, 1), np.float32))) for kind in KINDS),
        *((kind, changed(kind, mean=np.zeros(4, np.float32))) for kind in KINDS),
        *((kind, changed(kind, clip=np.zeros(1, np.float32))) for kind in KINDS),
        *((kind, changed(kind, more=wide)) for kind in KINDS),
        *((kind, changed(kind, length=np.array([length]))) for kind in KINDS for length in (0, -1, 10**9)),
        ("tcn", changed("ssm")), ("ssm", changed("tcn")),
        ("tcn", write_arrays(tcn(length=28))), ("tcn", write_arrays(tcn(factors=6, levels=40, taps=1)) + b"\0"),
        ("tcn", changed("tcn", **{"blocks.1.first": None})), ("tcn", changed("tcn", **{"blocks.0.first": wide})),
        ("ssm", changed("ssm", **pole)), ("ssm", changed("ssm", project=np.zeros(5, np.float32))),
        *(("ssm", changed("ssm", memory=np.array([memory]))) for memory in (-1, 10**9)),
        ("ssm", changed("ssm", epsilon=np.zeros(1, np.float32))),
        ("ssm", changed("ssm", **{"layers.0.pole_real": np.zeros((4, 6), np.float32)})),
    ]  # fmt: skip


@pytest.mark.parametrize("case", range(len(damaged_files())))
def test_a_damaged_or_foreign_file_is_refused(case: int) -> None:
    kind, data = damaged_files()[case]
    with pytest.raises(IntegrityError) as said:
        Predictor.from_files(kind, {WEIGHTS_FILE: data})
    assert said.value.hint


def test_a_model_that_is_stepped_alone_needs_its_file() -> None:
    with pytest.raises(IntegrityError):
        Predictor.from_files("ssm", {"model.onnx": b""})


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=examples(60), deadline=None)
def test_any_changed_bytes_either_open_safely_or_are_refused(seed: int) -> None:
    rng = np.random.default_rng(seed)
    kind = KINDS[seed % 2]
    data = bytearray(write_arrays(ARRAYS[kind](factors=3, length=30)))
    head = int.from_bytes(data[:8], "little") + 8
    for at in rng.integers(0, len(data) if seed % 3 else head, 4):
        data[at] = int(rng.integers(0, 256)) if seed % 5 else int(rng.choice(list(b'0123456789,]}" ')))
    try:
        found = stepped_network(kind, bytes(data[: rng.integers(1, len(data))] if seed % 7 == 0 else data))
    except IntegrityError:
        return
    assert found.day(np.zeros((3, found.n_features), np.float32)).shape == (3, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_bundle_is_stepped_by_a_process_without_torch(kind: str, tmp_path: Path) -> None:
    path = write_stepped_bundle(tmp_path, kind)
    rows = np.linspace(-1, 1, 30, dtype=np.float32).reshape(10, 3)
    expected = Predictor.from_bundle(load_bundle(path)).predict(rows)
    code = (
        "import sys, numpy; from pathlib import Path; from ghtrader_models.bundles.bundle import load_bundle;"
        "from ghtrader_models.inference.predictors import Predictor;"
        "predictor = Predictor.from_bundle(load_bundle(Path(sys.argv[1])));"
        "rows = numpy.linspace(-1, 1, 30, dtype=numpy.float32).reshape(10, 3);"
        "sys.stdout.buffer.write(numpy.array([predictor.predict_row(row) for row in rows]).tobytes());"
        "sys.exit(','.join({'torch', 'onnxruntime', 'lightning', 'mlflow'} & set(sys.modules)) or 0)"
    )
    command = [sys.executable, "-c", code, str(path)]
    done = subprocess.run(command, capture_output=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == expected.tobytes()


def test_a_weights_file_that_begins_like_a_pickle_is_none(tmp_path: Path) -> None:
    from safetensors.numpy import save

    class Padded(SteppedModel):
        def save(self, directory: Path) -> None:
            names = ({"": "x" * size} for size in range(2048))
            data = next(found for found in (save(self.arrays, note) for note in names) if found[0] == 0x80)
            (directory / WEIGHTS_FILE).write_bytes(data)

    from ghtrader_models.bundles.bundle import write_bundle
    from ghtrader_models.bundles.provenance import BundleContent
    from ghtrader_models.labels.labels import LabelSpec
    from ghtrader_models.policy import PolicyParams
    from tests.support.runtime_kit import tiny_factor_set

    content = BundleContent(symbol="KQ.m@SHFE.cu", horizon=50, price_tick=10.0, levels=5, days=(), seed=0, config={})
    path = write_bundle(
        tmp_path, Padded("tcn", tcn(3)), tiny_factor_set().spec(), LabelSpec((50,)), PolicyParams(enter=0.3, leave=0.1),
        content,
    )  # fmt: skip
    assert (path / WEIGHTS_FILE).read_bytes()[0] == 0x80 and load_bundle(path).kind == "tcn"
