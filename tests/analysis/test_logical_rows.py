"""Copies, parts and packed weights from file to table, and what cannot be understood."""

import json

import numpy as np
import pandas as pd
import pytest
from tinymodel import OF_THE_MOMENT, refused, run
from weightfiles import write_safetensors

import mlx_probe
from mlx_probe import AnalyzeConfig
from mlx_probe.analysis.progress import Silent
from mlx_probe.analysis.validate import validate_run
from mlx_probe.compute.backends import BACKENDS
from mlx_probe.core.errors import Interrupted

HIDDEN, HEADS = 32, 4
CONFIG = {"model_type": "phi3", "hidden_size": HIDDEN, "num_attention_heads": HEADS}
QKV = "model.layers.0.self_attn.qkv_proj.weight"
# What a copy does not take from its original.
OWN = [*OF_THE_MOMENT, "param_name", "block_type", "component", "layer_index", "alias_of"]


@pytest.fixture
def folder(tmp_path, rng):
    table = rng.standard_normal((200, HIDDEN), np.float32)
    codes = rng.integers(0, 2**32, (16, HIDDEN // 8), np.uint32).view(np.int32)
    arrays = {
        "model.embed_tokens.weight": table,
        QKV: rng.standard_normal((3 * HIDDEN, HIDDEN), np.float32),
        "model.layers.0.mlp.up_proj.weight": (codes.view(np.uint32), "U32"),
        "model.layers.0.mlp.up_proj.scales": np.full((16, 1), 0.5, np.float32),
        "model.layers.0.mlp.up_proj.biases": np.full((16, 1), -4, np.float32),
        "model.layers.0.mlp.down_proj.weight": (codes.view(np.uint32), "U32"),
        "lm_head.weight": table,
    }
    config = CONFIG | {"quantization": {"group_size": 32, "bits": 4}}
    path = tmp_path / "model"
    path.mkdir()
    write_safetensors(path / "model.safetensors", arrays)
    (path / "config.json").write_text(json.dumps(config))
    return path


@pytest.fixture(params=sorted(BACKENDS))
def config(request):
    return AnalyzeConfig(backend=request.param, device="cpu", workers=2)


def test_a_copy_has_its_own_name_and_the_original_s_numbers(folder, tmp_path, config):
    frame = mlx_probe.analyze(folder, out=tmp_path / "out", config=config).load()
    rows = frame[frame.part.isna()].set_index("param_name", drop=False)
    tied, table = rows.loc["lm_head.weight"], rows.loc["model.embed_tokens.weight"]
    assert tied.alias_of == "model.embed_tokens.weight"
    assert rows.alias_of.notna().sum() == 1
    assert (tied.block_type, table.block_type) == ("output", "embedding")
    pd.testing.assert_series_equal(tied.drop(OWN), table.drop(OWN), check_names=False)
    assert (tied.read_seconds, tied.compute_seconds) == (0, 0)


def test_parts_and_packed_weights_are_rows(folder, tmp_path, config):
    frame = mlx_probe.analyze(folder, out=tmp_path / "out", config=config).load()
    parts = frame[frame.param_name == QKV]
    assert list(parts.part.fillna("-")) == ["-", "q_proj", "k_proj", "v_proj"]
    assert list(parts.numel) == [3 * HIDDEN**2, *[HIDDEN**2] * 3]
    squares = parts.frobenius_norm**2
    assert squares.iloc[0] == pytest.approx(squares.iloc[1:].sum(), rel=1e-12)
    packed = frame[frame.packing == "mlx"].iloc[0]
    assert packed["shape"] == (16, HIDDEN)
    assert packed.pieces == tuple(
        f"model.layers.0.mlp.up_proj.{piece}" for piece in ("weight", "scales", "biases")
    )
    # 16 words of codes and two float32 to a row.
    assert packed.bits_per_weight == (HIDDEN * 4 + 64) / HIDDEN
    assert packed["min"] >= -4
    assert packed["max"] <= 3.5


class Stop(Silent):
    """Interrupts before the last row, which is a copy."""

    def start(self, weight):
        if weight.name == "lm_head.weight":
            raise KeyboardInterrupt


def test_a_copy_of_a_resumed_row(folder, tmp_path, config):
    out = tmp_path / "out"
    with pytest.raises(Interrupted, match="7 of 8 rows are saved"):
        mlx_probe.analyze(folder, out=out, config=config, progress=Stop())
    again = mlx_probe.analyze(folder, out=out, config=config)
    assert again.passed, again.failures
    assert again.meta["resumed_rows"] == 7
    frame = again.load().set_index("param_name")
    assert frame.loc["lm_head.weight", "alias_of"] == "model.embed_tokens.weight"
    assert frame.loc["lm_head.weight", "rank"] == HIDDEN
    assert all(check.passed for check in validate_run(out))


@pytest.mark.slow
def test_the_end_says_what_was_not_understood(folder, tmp_path):
    result = run("analyze", folder, "--out", tmp_path / "out", "--backend", "numpy")
    assert result.returncode == 3, result.stderr
    text = " ".join(result.stdout.split())
    assert "8 rows (7 ok, 1 skipped)" in text
    skipped = "skipped 1 weight, 256 bytes (0.4% of all) 1: model.layers.0.mlp.down_proj.weight"
    assert f"{skipped}: U32" in text
    inspected = " ".join(run("inspect", folder, COLUMNS="200").stdout.split())
    assert "skipped 1 tensor, 256 bytes" in inspected
    assert "mlx affine, 4 bit, group 32" in inspected


def test_an_order_of_groups_that_leads_nowhere_costs_one_row(tmp_path, rng):
    name = "model.layers.0.self_attn.q_proj"
    order = np.zeros(64, np.int32)
    order[5] = 7
    arrays = {
        "model.norm.weight": np.ones(64, np.float32),
        f"{name}.qweight": (rng.integers(0, 2**31, (8, 64), np.int32), "I32"),
        f"{name}.qzeros": (np.zeros((2, 8), np.int32), "I32"),
        f"{name}.scales": (np.ones((2, 64), np.float16), "F16"),
        f"{name}.g_idx": (order, "I32"),
    }
    write_safetensors(tmp_path / "model.safetensors", arrays)
    settings = {"quant_method": "gptq", "bits": 4, "group_size": 32}
    (tmp_path / "config.json").write_text(json.dumps({"quantization_config": settings}))
    done = mlx_probe.analyze(tmp_path, out=tmp_path / "out", config=AnalyzeConfig(backend="numpy"))
    frame = done.load().set_index("param_name")
    assert list(frame.status) == ["ok", "skipped"]
    assert frame.loc[f"{name}.weight", "status_reason"] == (
        f"{name}.weight: g_idx names group 7 of 2"
    )


def test_an_index_that_names_itself(tmp_path):
    name = "model.safetensors.index.json"
    (tmp_path / name).write_text(json.dumps({"weight_map": {"w": name}}))
    refused(run("analyze", tmp_path), name, "not a weight file")


def test_a_weight_both_packed_and_not_is_read_in_neither_way(tmp_path):
    name = "model.layers.0.self_attn.q_proj"
    arrays = {
        f"{name}.qweight": (np.zeros((8, 64), np.int32), "I32"),
        f"{name}.scales": (np.ones((2, 64), np.float16), "F16"),
        f"{name}.weight": np.ones((64, 64), np.float32),
    }
    write_safetensors(tmp_path / "model.safetensors", arrays)
    done = mlx_probe.analyze(tmp_path, out=tmp_path / "out", config=AnalyzeConfig(backend="numpy"))
    assert done.passed, done.failures
    frame = done.load()
    assert list(frame.param_name) == [f"{name}.qweight", f"{name}.weight"]
    assert list(frame.status) == ["skipped", "skipped"]
    assert list(frame.status_reason) == [
        f"{name}.qweight: packed, though {name}.weight is there as well",
        f"lies beside {name}.qweight, which is packed and not understood",
    ]
