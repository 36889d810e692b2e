"""A base and its adapter, as PEFT and mlx-lm store and merge them."""

import json
import math

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lab import mlx_lm
from mlx.utils import tree_flatten
from pairs import adapter, agrees, dense, rows_of, saved
from weightfiles import write_safetensors

from mlx_probe.analysis.compare.compare import compare
from mlx_probe.analysis.compare.product import product_spectrum
from mlx_probe.checkpoint.adapters.protocol import Product
from mlx_probe.compute.spectrum import GRAM_METHODS
from mlx_probe.core.errors import CheckpointError

PREFIX = "base_model.model."
Q = "model.layers.0.self_attn.q_proj"
UP = "model.layers.1.mlp.up_proj"
DOWN = "model.layers.1.mlp.down_proj"
EMBED = "model.embed_tokens"
RANKS = {"r": 8, "rank_pattern": {UP: 3}}


def factors(rng, arrays, module, rank):
    rows, cols = arrays[f"{module}.weight"].shape
    a = rng.standard_normal((rank, cols)).astype(np.float32)
    b = (0.01 * rng.standard_normal((rows, rank))).astype(np.float32)
    stored = {f"{PREFIX}{module}.lora_A.weight": a, f"{PREFIX}{module}.lora_B.weight": b}
    return stored, b.astype(np.float64) @ a.astype(np.float64)


@pytest.mark.parametrize(
    ("config", "scale"),
    [
        ({"lora_alpha": 16}, lambda rank: 16 / rank),
        ({"lora_alpha": 16, "use_rslora": True}, lambda rank: 16 / math.sqrt(rank)),
        ({"lora_alpha": 16, "alpha_pattern": {"mlp.up_proj": 4}}, None),
    ],
)
def test_lora_of_peft(arrays, base, tmp_path, rng, config, scale):
    stored, merged = {}, {}
    for module, rank in ((Q, 8), (UP, 3), (DOWN, 8)):
        pieces, product = factors(rng, arrays, module, rank)
        stored |= pieces
        alpha = 4 if module == UP else 16
        merged[f"{module}.weight"] = product * (scale(rank) if scale else alpha / rank)
    rows = rows_of(base, adapter(tmp_path / "lora", stored, config | RANKS), tmp_path / "out")
    assert set(rows.index) == set(arrays)
    assert set(rows.matched_by) == {"adapter"}
    assert set(rows[rows.status == "ok"].index) == set(merged)
    for name, product in merged.items():
        row = rows.loc[name]
        agrees(row, dense(arrays[name], arrays[name] + product))
        assert row.delta_rank == (3 if name.startswith(UP) else 8)
        assert row.delta_spectrum_method == "qr_product_f64"
        assert row.other_name == f"{PREFIX}{name.removesuffix('.weight')}.lora_B.weight"
    left_alone = rows[rows.status == "identical"]
    assert set(left_alone.delta_rank.dropna()) == {0}
    assert set(left_alone.cosine) == {1.0}


def test_a_merged_adapter_is_the_same_comparison(arrays, base, tmp_path, rng):
    stored, product = factors(rng, arrays, UP, 8)
    name = f"{UP}.weight"
    whole = {n: (x.astype("<f8"), "F64") for n, x in arrays.items()}
    whole[name] = arrays[name] + 2 * product, "F64"
    merged = rows_of(base, saved(tmp_path / "merged", whole), tmp_path / "a").loc[name]
    lora = adapter(tmp_path / "lora", stored, {"r": 8, "lora_alpha": 16})
    kept = rows_of(base, lora, tmp_path / "b").loc[name]
    assert merged.delta_rank == kept.delta_rank == 8
    for column in ("relative_change", "cosine", "delta_effective_rank", "left_overlap"):
        np.testing.assert_allclose(merged[column], kept[column], rtol=1e-9)


def test_factors_of_zeros_change_nothing(arrays, base, tmp_path, rng):
    """What training starts from: B = 0."""
    stored, _ = factors(rng, arrays, UP, 4)
    stored[f"{PREFIX}{UP}.lora_B.weight"] *= 0
    lora = adapter(tmp_path / "lora", stored, {"r": 4, "lora_alpha": 8})
    row = rows_of(base, lora, tmp_path / "out").loc[f"{UP}.weight"]
    assert (row.status, row.relative_change, row.cosine) == ("identical", 0.0, 1.0)
    assert row.delta_rank == 0


@pytest.mark.parametrize("module", [UP, DOWN])
def test_dora_of_peft(arrays, base, tmp_path, rng, module):
    name = f"{module}.weight"
    stored, product = factors(rng, arrays, module, 4)
    rows = len(arrays[name])
    magnitude = rng.uniform(0.5, 3, rows).astype(np.float32)
    stored[f"{PREFIX}{module}.lora_magnitude_vector"] = magnitude
    direction = arrays[name] + 2.0 * product
    norms = np.linalg.norm(direction, axis=1, keepdims=True)
    tuned = magnitude[:, None].astype(np.float64) * direction / norms
    lora = adapter(tmp_path / "dora", stored, {"r": 4, "lora_alpha": 8})
    row = rows_of(base, lora, tmp_path / "out").loc[name]
    agrees(row, dense(arrays[name], tuned))
    assert row.delta_spectrum_method in GRAM_METHODS.values()


def test_embeddings_and_weights_stored_whole(arrays, base, tmp_path, rng):
    name = f"{EMBED}.weight"
    tokens, width = arrays[name].shape
    a, b = rng.standard_normal((4, tokens)), rng.standard_normal((width, 4))
    norm = "model.layers.0.input_layernorm.weight"
    stored = {
        f"{PREFIX}{EMBED}.lora_embedding_A": a.astype(np.float32),
        f"{PREFIX}{EMBED}.lora_embedding_B": b.astype(np.float32),
        PREFIX + norm: arrays[norm] + 1,
    }
    lora = adapter(tmp_path / "lora", stored, {"r": 4, "lora_alpha": 4})
    rows = rows_of(base, lora, tmp_path / "out")
    product = (b.astype(np.float32).astype(float) @ a.astype(np.float32).astype(float)).T
    agrees(rows.loc[name], dense(arrays[name], arrays[name] + product))
    assert rows.loc[norm].max_change == pytest.approx(1)
    assert rows.loc[norm].matched_by == "name"


def test_fan_in_fan_out(tmp_path, rng):
    """GPT-2's Conv1D stores (in, out); square, so that only the flag shows it."""
    name = "transformer.h.0.attn.c_proj"
    arrays = {f"{name}.weight": rng.standard_normal((24, 24)).astype(np.float32)}
    stored, product = factors(rng, arrays, name, 2)
    config = {"r": 2, "lora_alpha": 2, "fan_in_fan_out": True}
    lora = adapter(tmp_path / "lora", stored, config)
    row = rows_of(saved(tmp_path / "base", arrays), lora, tmp_path / "out").loc[f"{name}.weight"]
    agrees(row, dense(arrays[f"{name}.weight"], arrays[f"{name}.weight"] + product.T))


def test_what_does_not_fit_says_so(arrays, base, tmp_path, rng):
    stored, _ = factors(rng, arrays, UP, 4)
    stored[f"{PREFIX}{Q}.lora_A.weight"] = np.ones((4, 7), np.float32)
    stored[f"{PREFIX}{Q}.lora_B.weight"] = np.ones((5, 4), np.float32)
    stored[f"{PREFIX}model.layers.9.mlp.up_proj.lora_A.weight"] = np.ones((4, 40), np.float32)
    stored[f"{PREFIX}{DOWN}.lora_A.weight"] = np.full((4, 64), np.inf, np.float32)
    stored[f"{PREFIX}{DOWN}.lora_B.weight"] = np.ones((40, 4), np.float32)
    stored[f"{PREFIX}{EMBED}.lora_A.weight"] = np.ones((4, 40), np.float32)
    config = {"r": 4, "lora_alpha": 4}
    rows = rows_of(base, adapter(tmp_path / "lora", stored, config), tmp_path / "out")
    assert rows.loc[f"{Q}.weight"].status == "reshaped"
    assert rows.loc[f"{DOWN}.weight"].status == "nonfinite"
    assert rows.loc[f"{EMBED}.weight"].status == "skipped"
    lost = rows.loc[f"{PREFIX}model.layers.9.mlp.up_proj.lora_A.weight"]
    assert lost.status == "only_b"
    assert rows.loc[f"{UP}.weight"].status == "ok"
    unknown = adapter(tmp_path / "unknown", stored, {"peft_type": "LORA"})
    row = rows_of(base, unknown, tmp_path / "again").loc[f"{UP}.weight"]
    assert (row.status, pd.isna(row.relative_change)) == ("skipped", True)


def test_an_adapter_of_another_model_leaves_no_run(arrays, base, tmp_path, rng):
    stored, _ = factors(rng, arrays, UP, 4)
    moved = {name.replace("layers.1", "layers.9"): x for name, x in stored.items()}
    lora = adapter(tmp_path / "lora", moved, {"r": 4, "lora_alpha": 4})
    with pytest.raises(CheckpointError, match=r"changes nothing of .*layers\.9") as refusal:
        compare(base, lora, out=tmp_path / "out")
    assert "trained on" in refusal.value.remedy
    assert not (tmp_path / "out").exists()


class _Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.self_attn = nn.Module()
        self.self_attn.q_proj = nn.Linear(32, 64, bias=False)
        self.self_attn.k_proj = nn.Linear(32, 32, bias=False)


class _Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = [_Block()]


@pytest.mark.parametrize("dora", [False, True])
def test_mlx_lm(tmp_path, rng, dora):
    """Against mlx-lm's own fusing, which is in float32."""
    tuner = mlx_lm("tuner.utils")
    model = _Model()
    parameters = {"rank": 4, "scale": 20.0, "dropout": 0.0}
    with mx.stream(mx.cpu):
        arrays = {name: np.array(x) for name, x in tree_flatten(model.parameters())}
        model.freeze()
        tuner.linear_to_lora_layers(model, 1, parameters, use_dora=dora)
        for name, x in tree_flatten(model.trainable_parameters()):
            if name.endswith("lora_b"):
                new = mx.array(0.01 * rng.standard_normal(x.shape), mx.float32)
                model.load_weights([(name, new)], strict=False)
        trained = {name: np.array(x) for name, x in tree_flatten(model.trainable_parameters())}
        attention = model.layers[0].self_attn
        fused = {
            f"layers.0.self_attn.{name}.weight": np.array(getattr(attention, name).fuse().weight)
            for name in ("q_proj", "k_proj")
            if hasattr(getattr(attention, name), "fuse")
        }
    assert fused
    (tmp_path / "lora").mkdir()
    write_safetensors(tmp_path / "lora" / "adapters.safetensors", trained)
    config = {"fine_tune_type": "dora" if dora else "lora", "lora_parameters": parameters}
    (tmp_path / "lora" / "adapter_config.json").write_text(json.dumps(config))
    rows = rows_of(saved(tmp_path / "base", arrays), tmp_path / "lora", tmp_path / "out")
    assert set(rows[rows.status == "ok"].index) == set(fused)
    columns = ("relative_change", "cosine", "delta_effective_rank", "left_overlap")
    for name, tuned in fused.items():
        # In a float32 sum the small directions of a low-rank difference are rounding.
        expected = dense(arrays[name], tuned, rank_tol=1e-4)
        agrees(rows.loc[name], {column: expected[column] for column in columns}, rtol=1e-3)
        if not dora:
            assert rows.loc[name].delta_rank == expected["delta_rank"] == 4


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_singular_values_of_a_product(rows, cols, rank, seed):
    rng = np.random.default_rng(seed)
    left = rng.standard_normal((rows, rank)) * np.logspace(0, -3, rank)
    right = rng.standard_normal((rank, cols))
    spectrum = product_spectrum(Product(left, right))
    sigma = np.linalg.svd(left @ right, compute_uv=False)
    assert len(spectrum.values) == min(rows, cols)
    assert np.abs(spectrum.values - sigma).max() <= 4 * max(spectrum.error, 1e-15) * sigma[0]
    assert not spectrum.values[rank:].any()
