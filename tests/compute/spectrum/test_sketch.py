"""Sketches against whole spectra from LAPACK in float64."""

import math
import tracemalloc
from dataclasses import replace
from itertools import cycle

import numpy as np
import pytest
from matrices import FAMILIES, moments_of, slabs_of, store, with_spectrum

from mlx_probe.compute.backends.numpy.backend import NumpyBackend
from mlx_probe.compute.spectrum import lanczos, sketch_bytes, sketch_spectrum
from mlx_probe.core.errors import SpectrumError
from mlx_probe.metrics import Measurement, compute_metrics

SHAPES = {"tall": (220, 96), "square": (200, 200), "wide": (96, 400)}
NOT_ZERO = [name for name in FAMILIES if name != "zero"]


def sketched(backend, words, dtype="F32", seed=0):
    operator = backend.operator_pass(*words.shape, dtype)
    for part in slabs_of(words, 150):
        operator.add(backend.load(part, dtype))
    return sketch_spectrum(operator.apply, moments_of(backend, words, dtype), *words.shape, seed)


def exact(values):
    """Singular values, effective rank, entropy."""
    sigma = np.linalg.svd(values, compute_uv=False)
    shares = [sigma / sigma.sum(), sigma**2 / np.sum(sigma**2)]
    entropies = [-np.sum(p[p > 0] * np.log(p[p > 0])) for p in shares]
    return sigma, math.exp(entropies[0]), entropies[1] / math.log(max(len(sigma), 2))


def assert_within(sketch, values, widths=1.0):
    sigma, rank, entropy = exact(values)
    off = np.abs(sketch.leading - sigma[: len(sketch.leading)]).max()
    assert off <= sketch.error * sketch.leading[0]
    assert abs(sketch.effective_rank.value - rank) <= widths * sketch.effective_rank.half_width
    if len(sigma) > 1:
        half_width = widths * sketch.spectral_entropy.half_width
        assert abs(sketch.spectral_entropy.value - entropy) <= half_width
    else:
        assert sketch.spectral_entropy is None


# The whole space, and one of three blocks.
@pytest.mark.slow
@pytest.mark.parametrize("basis", [640, 96])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("family", NOT_ZERO)
def test_hard_matrices(backend, family, shape, basis, monkeypatch):
    monkeypatch.setattr(lanczos, "BASIS", basis)
    words, values = store(FAMILIES[family](np.random.default_rng(5), *shape), "F32")
    sketch = sketched(backend, words)
    assert (sketch.rows, sketch.cols, sketch.method) == (*shape, "block_lanczos")
    assert len(sketch.leading) == 1 or len(sketch.leading) * sketch.error <= 0.03
    # Two of the 95 % intervals: of some hundred numbers a few lie outside of one.
    assert_within(sketch, values, widths=1.0 if basis > min(shape) else 2.0)


@pytest.mark.parametrize("family", ["gaussian", "power 1", "log to 1e-5", "outlier columns"])
def test_beyond_the_basis(family):
    words, values = store(FAMILIES[family](np.random.default_rng(9), 700, 900), "BF16")
    sketch = sketched(NumpyBackend(), words, "BF16")
    assert_within(sketch, values, widths=1.5)
    assert len(sketch.leading) >= 40
    assert sketch.effective_rank.half_width < 0.02 * sketch.effective_rank.value


@pytest.mark.slow
def test_nearly_all_intervals_hold_the_truth(monkeypatch):
    monkeypatch.setattr(lanczos, "BASIS", 128)
    held = []
    for seed, family in zip(range(200), cycle(["gaussian", "power 0.5", "power 1"]), strict=False):
        words, values = store(FAMILIES[family](np.random.default_rng(seed), 300, 150), "F32")
        # The same seed as the matrix: it must be no kin of the block.
        sketch = sketched(NumpyBackend(), words, seed=seed)
        _, *truth = exact(values)
        estimates = (sketch.effective_rank, sketch.spectral_entropy)
        pairs = zip(estimates, truth, strict=True)
        held.append([abs(one.value - true) <= one.half_width for one, true in pairs])
    for share in np.mean(held, axis=0):
        assert 0.90 <= share <= 0.999


def test_a_seed_decides_everything():
    words, _ = store(FAMILIES["gaussian"](np.random.default_rng(1), 700, 900), "F32")
    one, again, other = (sketched(NumpyBackend(), words, seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.leading, again.leading)
    assert replace(one, leading=0) == replace(again, leading=0)
    assert one.effective_rank != other.effective_rank
    assert abs(one.leading[0] - other.leading[0]) <= one.error * one.leading[0]


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (2, 3), (31, 40), (33, 33), (90, 65)])
def test_small_matrices_are_exact(backend, shape):
    words, values = store(np.random.default_rng(2).standard_normal(shape), "F32")
    sketch = sketched(backend, words)
    assert_within(sketch, values)
    assert len(sketch.leading) == min(shape)
    assert sketch.error < 1e-3
    assert sketch.effective_rank.half_width <= 1e-4 * sketch.effective_rank.value


def test_copies_that_a_block_cannot_show_are_not_claimed(monkeypatch):
    monkeypatch.setattr(lanczos, "BASIS", 320)
    sigma = np.concatenate((np.ones(100), np.linspace(0.5, 0.0, 600)))
    values = with_spectrum(np.random.default_rng(0), 700, 700, sigma)
    sketch = sketched(NumpyBackend(), *store(values, "F32")[:1])
    assert len(sketch.leading) == 31
    assert_within(sketch, values)


def test_a_multiple_of_an_orthogonal_matrix_is_known_at_once(backend):
    words, values = store(3.0 * np.eye(130)[::-1], "F32")
    sketch = sketched(backend, words)
    assert_within(sketch, values)
    assert sketch.effective_rank.value == pytest.approx(130, rel=1e-6)
    assert sketch.spectral_entropy.value <= 1


def test_no_rank_is_below_one(backend):
    words, values = store(np.outer(np.arange(1.0, 80), np.arange(1.0, 60)), "F32")
    assert_within(sketched(backend, words), values)
    row = columns(backend, words)
    assert min(row["stable_rank"], row["effective_rank"]) >= 1
    assert row["stable_rank"] == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("scale", [1e-36, 1e-20, 1e20, 1e36])
def test_squares_of_extreme_values_neither_overflow_nor_vanish(backend, scale):
    x = np.random.default_rng(3).standard_normal((120, 80)).astype(np.float32)
    words, values = store(np.float32(scale) * x, "F32")
    assert_within(sketched(backend, words), values)


def test_what_float32_leaves_out_of_float64_counts():
    x = np.random.default_rng(4).standard_normal((120, 80))
    sketch = sketched(NumpyBackend(), x, "F64")
    assert_within(sketch, x)
    rounded = sketched(NumpyBackend(), x.astype(np.float32))
    assert sketch.effective_rank.half_width > rounded.effective_rank.half_width


@pytest.mark.parametrize("scale", [0.0, 1e-140, 1e140])
def test_squares_out_of_range_are_refused(scale):
    x = scale * np.random.default_rng(4).standard_normal((12, 8))
    with pytest.raises(SpectrumError, match="sum of squares") as caught:
        sketch_spectrum(lambda v: v, moments_of(NumpyBackend(), x, "F64"), 12, 8, 0)
    assert "--spectrum exact" in caught.value.remedy


def test_lapack_may_fail(monkeypatch):
    def fail(matrix):
        raise np.linalg.LinAlgError

    monkeypatch.setattr(np.linalg, "eigh", fail)
    with pytest.raises(SpectrumError, match="did not converge"):
        sketched(NumpyBackend(), np.eye(9, dtype=np.float32))


@pytest.mark.parametrize("size", [100, 3000])
def test_memory_stays_within_what_the_plan_allows(size):
    eigenvalues = np.linspace(0, 1, size)
    x = np.sqrt(eigenvalues / size)
    moments = replace(moments_of(NumpyBackend(), x, "F64"), value_dtype="F32")
    tracemalloc.start()
    try:
        sketch_spectrum(lambda v: (x**2)[:, None] * v, moments, size, size, 0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 0.4 * sketch_bytes(size) < peak < sketch_bytes(size)


def columns(backend, words):
    moments = moments_of(backend, words, "F32")
    measurement = Measurement(moments, 1e-6, sketched(backend, words))
    return compute_metrics(measurement, "standard")


@pytest.mark.parametrize("family", NOT_ZERO)
def test_columns_are_right_or_empty(family, monkeypatch):
    monkeypatch.setattr(lanczos, "BASIS", 160)
    words, values = store(FAMILIES[family](np.random.default_rng(8), 260, 200), "F32")
    row = columns(NumpyBackend(), words)
    sigma, *_ = exact(values)
    energy = np.cumsum(sigma**2) / np.sum(sigma**2)
    assert row["frobenius_norm"] == pytest.approx(np.linalg.norm(values), rel=1e-12)
    relative = 2.1 * row["spectrum_error"]
    assert row["spectral_norm"] == pytest.approx(sigma[0], rel=relative)
    assert row["stable_rank"] == pytest.approx(1 / energy[0], rel=relative)
    assert row["top1_energy"] == pytest.approx(energy[0], rel=relative)
    if row["top10_energy"] is not None:
        assert row["top10_energy"] == pytest.approx(energy[9], abs=10 * relative * energy[0])
    for percent in (90, 95, 99):
        expected = int(np.searchsorted(energy, percent / 100)) + 1
        assert row[f"energy_rank_{percent}"] in (None, expected)
    # What a low rank's leading values reach is there.
    if family.startswith("low rank + 1e-") or family == "low rank":
        assert row["energy_rank_99"] is not None
    assert row["rank"] is row["sigma_min"] is row["nuclear_norm"] is None
