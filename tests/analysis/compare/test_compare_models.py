"""Two whole models: every column against dense float64 SVD."""

import numpy as np
import pandas as pd
import pytest
from matrices import orthonormal, store
from pairs import DOWN, UP, agrees, dense, rows_of, saved, saved_float64


def test_against_itself_all_differences_are_exactly_zero(base, tmp_path):
    rows = rows_of(base, base, tmp_path)
    assert set(rows.status) == {"identical"}
    assert set(rows.matched_by) == {"name"}
    for column in ("relative_change", "change_norm", "max_change", "changed_share"):
        assert set(rows[column]) == {0.0}, column
    assert set(rows.cosine) == {1.0}
    matrices = rows[rows.rows.notna()]
    assert set(matrices.delta_rank) == {0}
    assert set(matrices.delta_spectrum_method) == {"zero_matrix"}
    assert set(matrices.left_overlap) == set(matrices.right_overlap) == {1.0}
    assert set(matrices.intruder_count) == {0}
    assert rows[rows.rows.isna()].delta_rank.isna().all()


@pytest.mark.parametrize("size", [1e-6, 0.01, 0.5, 5.0])
def test_every_number_is_that_of_dense_svd(arrays, base, tmp_path, rng, size):
    tuned = {
        name: x + (size * rng.standard_normal(x.shape)).astype(np.float32)
        for name, x in arrays.items()
    }
    rows = rows_of(base, saved(tmp_path / "tuned", tuned), tmp_path / "out")
    for name, x in arrays.items():
        row = rows.loc[name]
        assert row.status == "ok"
        if x.ndim == 2:
            agrees(row, dense(x, tuned[name]))
            assert row.delta_rank_above_rounding <= 40
        else:
            difference = tuned[name].astype(float) - x
            np.testing.assert_allclose(row.change_norm, np.linalg.norm(difference), rtol=1e-12)
            assert pd.isna(row.delta_rank)
            assert pd.isna(row.left_overlap)


@pytest.mark.parametrize(("directions", "searched", "epsilon"), [(1, 1, 0.9), (5, 20, 0.7)])
def test_options_of_subspaces(arrays, base, tmp_path, rng, directions, searched, epsilon):
    tuned = {n: x + 0.3 * rng.standard_normal(x.shape).astype("f4") for n, x in arrays.items()}
    rows = rows_of(
        base,
        saved(tmp_path / "tuned", tuned),
        tmp_path / "out",
        directions=directions,
        intruder_directions=searched,
        intruder_epsilon=epsilon,
    )
    for name in (UP, DOWN):
        agrees(rows.loc[name], dense(arrays[name], tuned[name], directions, searched, epsilon))
        assert rows.loc[name].intruder_directions == searched


def test_no_directions_no_vectors(arrays, base, tmp_path):
    tuned = {**arrays, UP: arrays[UP] * np.float32(1.5)}
    rows = rows_of(base, saved(tmp_path / "tuned", tuned), tmp_path / "out", directions=0)
    assert rows.left_overlap.isna().all()
    assert rows.loc[UP].delta_rank == 40
    assert rows.missing_reason.isna().all()


@pytest.mark.parametrize("shape", [(64, 40), (40, 64), (48, 48)])
def test_a_planted_intruder_is_counted_on_its_side(tmp_path, rng, shape):
    """A new direction that outweighs all others, and is spread over all directions of the base."""
    m, n = shape
    k = min(shape)
    u, v = orthonormal(rng, m, k), orthonormal(rng, n, k)
    a = (u * np.linspace(2, 1, k)) @ v.T
    spread = np.full(k, k**-0.5)
    planted = 30 * np.outer(u @ spread, v @ spread)
    rows = rows_of(
        saved_float64(tmp_path / "a", {UP: a}),
        saved_float64(tmp_path / "b", {UP: a + planted}),
        tmp_path / "out",
    )
    row = rows.loc[UP]
    assert (row.intruder_count, row.right_intruder_count) == (1, 1)
    assert row.delta_rank == 1
    agrees(row, dense(a, a + planted), rtol=1e-8)


@pytest.mark.parametrize("rank", [1, 3, 12])
def test_a_merged_lora_has_its_rank_and_the_rest_none(arrays, base, tmp_path, rng, rank):
    """float64 keeps what rounding to float32 would add to the difference."""
    tuned = {name: x.astype(np.float64) for name, x in arrays.items()}
    for name in (UP, DOWN):
        rows, cols = tuned[name].shape
        left, right = rng.standard_normal((rows, rank)), rng.standard_normal((rank, cols))
        tuned[name] = tuned[name] + 0.05 * left @ right
    rows = rows_of(base, saved_float64(tmp_path / "tuned", tuned), tmp_path / "out")
    changed = rows[rows.status == "ok"]
    assert set(changed.index) == {UP, DOWN}
    assert set(changed.delta_rank) == {rank}
    assert set(rows[rows.status == "identical"].delta_rank.dropna()) == {0}
    assert set(rows.other_dtype) == {"F64"}


def test_rounding_after_a_merge_is_seen_at_its_own_size(arrays, base, tmp_path, rng):
    """To float32 rounding adds a part in 2**24 of the weights; a looser tolerance is above it."""
    x = arrays[UP].astype(np.float64)
    delta = 1e-4 * rng.standard_normal((64, 8)) @ rng.standard_normal((8, 40))
    tuned = {**arrays, UP: (x + delta).astype(np.float32)}
    folder = saved(tmp_path / "tuned", tuned)
    strict = rows_of(base, folder, tmp_path / "strict").loc[UP]
    loose = rows_of(base, folder, tmp_path / "loose", rank_tol=1e-4).loc[UP]
    assert strict.delta_rank == 40
    assert loose.delta_rank == 8
    assert strict.delta_rank_above_rounding == loose.delta_rank_above_rounding == 8


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32"])
@pytest.mark.parametrize("shape", [(96, 64), (64, 96)])
def test_rank_above_rounding_is_that_of_what_was_merged(tmp_path, rng, dtype, shape):
    """Also where rows are of very different sizes, and with them their rounding errors."""
    a = rng.standard_normal(shape) * np.logspace(0, -2, shape[0])[:, None]
    words, a = store(a, dtype)
    left = rng.standard_normal((shape[0], 3)) / np.sqrt(shape[0])
    update = left @ rng.standard_normal((3, shape[1])) / np.sqrt(shape[1]) * 4
    merged, _ = store(a + update, dtype)
    only_rounded, _ = store(a * (1 + 1e-9), dtype)
    first = saved(tmp_path / "a", {UP: (words, dtype)})
    second = saved(tmp_path / "b", {UP: (merged, dtype)})
    row = rows_of(first, second, tmp_path / "out", rank_tol=1e-9).loc[UP]
    assert row.delta_rank_above_rounding == 3
    assert row.delta_rank > 3
    same = rows_of(first, saved(tmp_path / "c", {UP: (only_rounded, dtype)}), tmp_path / "same")
    assert same.loc[UP].status == "identical"
    assert same.loc[UP].delta_rank_above_rounding == 0


@pytest.mark.parametrize("exponent", [-900, -300, 300, 900])
def test_a_change_of_extreme_weights_is_counted_like_that_of_others(tmp_path, rng, exponent):
    a = rng.standard_normal((40, 24))
    b = a + 1e-3 * rng.standard_normal((40, 3)) @ rng.standard_normal((3, 24))
    scale = 2.0**exponent
    one, other = (
        rows_of(
            saved_float64(tmp_path / f"a{unit}", {UP: unit * a}),
            saved_float64(tmp_path / f"b{unit}", {UP: unit * b}),
            tmp_path / f"out{unit}",
        ).loc[UP]
        for unit in (1.0, scale)
    )
    for column in ("delta_rank", "delta_rank_above_rounding", "delta_energy_rank_99"):
        assert other[column] == one[column] == 3, column
    assert other.delta_spectral_norm == pytest.approx(scale * one.delta_spectral_norm, rel=1e-9)
    assert other.delta_effective_rank == pytest.approx(one.delta_effective_rank, rel=1e-6)
