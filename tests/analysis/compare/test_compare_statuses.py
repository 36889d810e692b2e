"""Pairs of every status, shape and storage: what is compared, and what is left empty and why."""

import mlx.core as mx
import numpy as np
import pandas as pd
import pytest
from matrices import store
from pairs import DOWN, NORM, UP, agrees, dense, rows_of, saved, saved_float64


def test_statuses(arrays, base, tmp_path):
    tuned = dict(arrays)
    del tuned["model.layers.1.mlp.up_proj.weight"]
    tuned["extra.weight"] = np.ones((3, 3), np.float32)
    tuned["model.embed_tokens.weight"] = np.ones((92, 40), np.float32)
    tuned[UP] = arrays[UP].copy()
    tuned[UP][0, 0] = np.nan
    tuned[DOWN] = arrays[DOWN] * 0
    tuned[NORM] = (np.zeros(40, np.uint8), "F4")
    rows = rows_of(base, saved(tmp_path / "tuned", tuned), tmp_path / "out")
    status = rows.status.to_dict()
    assert status["model.layers.1.mlp.up_proj.weight"] == "only_a"
    assert status["extra.weight"] == "only_b"
    assert status["model.embed_tokens.weight"] == "reshaped"
    assert status[UP] == "nonfinite"
    assert "1 in B" in rows.loc[UP].status_reason
    assert status[NORM] == "skipped"
    assert rows.loc["extra.weight"].isna()[["param_name", "shape", "dtype"]].all()
    for name in ("extra.weight", "model.embed_tokens.weight", UP, NORM):
        assert rows.loc[name].isna()[["relative_change", "cosine", "delta_rank"]].all(), name
    zeroed = rows.loc[DOWN]
    assert (zeroed.status, zeroed.relative_change, zeroed.delta_rank) == ("ok", 1.0, 40)
    assert pd.isna(zeroed.cosine)
    assert pd.isna(zeroed.left_overlap)
    assert zeroed.missing_reason


def test_a_base_of_zeros_changes_by_infinity(tmp_path):
    a = saved(tmp_path / "a", {UP: np.zeros((4, 4), np.float32)})
    b = saved(tmp_path / "b", {UP: np.eye(4, dtype=np.float32)})
    row = rows_of(a, b, tmp_path / "out").loc[UP]
    assert np.isinf(row.relative_change)
    assert (row.change_norm, row.delta_rank) == (2.0, 4)


@pytest.mark.parametrize("size", [1e200, 1e-200])
def test_squares_out_of_range_are_no_numbers(tmp_path, rng, size):
    x = rng.standard_normal((12, 8)) * size
    rows = rows_of(
        saved_float64(tmp_path / "a", {UP: x}),
        saved_float64(tmp_path / "b", {UP: 1.5 * x}),
        tmp_path / "out",
    )
    row = rows.loc[UP]
    assert row.status == "ok"
    assert row[["relative_change", "change_norm", "cosine", "left_overlap"]].isna().all()
    assert "squares" in row.missing_reason
    sigma = np.linalg.svd(0.5 * x, compute_uv=False)
    np.testing.assert_allclose(row.delta_spectral_norm, sigma[0], rtol=1e-12)
    assert row.delta_rank == 8


def test_special_shapes(tmp_path):
    arrays = {
        "scalar": np.float32(1).reshape(()),
        "empty": np.zeros((0, 4), np.float32),
        "model.layers.0.conv1d.weight": np.ones((8, 1, 4), np.float32),
        "model.layers.0.mlp.experts.down_proj": np.ones((3, 8, 4), np.float32),
        "position_ids": (np.arange(8), "I64"),
    }
    other = dict(arrays)
    other["model.layers.0.mlp.experts.down_proj"] = np.ones((3, 8, 4), np.float32)
    other["model.layers.0.mlp.experts.down_proj"][1] = 2
    other["position_ids"] = (np.arange(1, 9), "I64")
    rows = rows_of(saved(tmp_path / "a", arrays), saved(tmp_path / "b", other), tmp_path / "out")
    assert rows.loc["scalar"].status == "scalar"
    assert rows.loc["empty"].status == "empty"
    experts = rows.loc["model.layers.0.mlp.experts.down_proj"]
    assert list(experts.expert_index) == [0, 1, 2]
    assert list(experts.status) == ["identical", "ok", "identical"]
    assert list(experts.delta_rank) == [0, 1, 0]
    ids = rows.loc["position_ids"]
    assert (ids.status, ids.max_change) == ("ok", 1.0)
    assert pd.isna(ids.delta_rank)


def test_quantized_by_mlx(arrays, tmp_path):
    """Four bits, groups of 32: the reference is MLX's own dequantization."""
    wide = {name: np.tile(x, 4) if x.ndim == 2 else x for name, x in arrays.items()}
    packed, values = {}, {}
    for name, x in wide.items():
        if x.ndim == 1:
            packed[name] = x
            continue
        with mx.stream(mx.cpu):
            parts = mx.quantize(mx.array(x), group_size=32, bits=4)
            values[name] = np.array(mx.dequantize(*parts, group_size=32, bits=4))
        stem = name.removesuffix("weight")
        packed[name] = np.array(parts[0]), "U32"
        packed[f"{stem}scales"], packed[f"{stem}biases"] = (np.array(p) for p in parts[1:])
    config = {"model_type": "llama", "quantization": {"group_size": 32, "bits": 4}}
    a, b = saved(tmp_path / "a", wide), saved(tmp_path / "b", packed, config)
    rows = rows_of(a, b, tmp_path / "out")
    assert len(rows) == len(wide)
    assert set(rows.other_packing) == {"plain", "mlx"}
    for name, x in values.items():
        # The tiled base has short spectra: only what does not need its small directions.
        expected = dense(wide[name], x)
        columns = ("relative_change", "cosine", "delta_rank", "delta_effective_rank")
        agrees(rows.loc[name], {column: expected[column] for column in columns}, rtol=1e-6)


def test_bfloat16_beside_float32(arrays, base, tmp_path):
    stored = {name: (store(x, "BF16")[0], "BF16") for name, x in arrays.items()}
    rows = rows_of(base, saved(tmp_path / "b", stored), tmp_path / "out")
    assert (rows.relative_change < 2**-8).all()
    for name, x in arrays.items():
        if x.ndim == 2:
            agrees(rows.loc[name], dense(x, store(x, "BF16")[1]))
