"""Layouts of adapters beside PEFT's: llama.cpp's, mlx-lm's stacked experts; and GPT-2's Conv1D."""

import json

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from lab import mlx_lm
from mlx.utils import tree_flatten
from pairs import adapter, agrees, dense, rows_of, saved
from weightfiles import write_gguf, write_safetensors

from mlx_probe.checkpoint.adapters.conv1d import is_conv1d

UP, Q = "model.layers.1.mlp.up_proj.weight", "model.layers.0.self_attn.q_proj.weight"


def gguf_adapter(folder, rng, **shapes):
    folder.mkdir()
    tensors, products = {}, {}
    for name, (rows, cols) in shapes.items():
        a = rng.standard_normal((4, cols)).astype(np.float32)
        b = (0.01 * rng.standard_normal((rows, 4))).astype(np.float32)
        name = f"blk.{name}.weight".replace("_", ".", 1)
        tensors |= {f"{name}.lora_a": (a, "F32"), f"{name}.lora_b": (b, "F32")}
        products[name] = b.astype(np.float64) @ a * 16 / 4
    write_gguf(folder / "lora.gguf", tensors, adapter__lora__alpha=16)
    return folder / "lora.gguf", products


def test_llama_cpp(arrays, base, tmp_path, rng):
    """The scale is that of llama.cpp: alpha over the rank."""
    lora, products = gguf_adapter(
        tmp_path / "lora", rng, **{"1_ffn_up": (64, 40), "0_attn_q": (48, 40)}
    )
    rows = rows_of(base, lora, tmp_path / "out")
    agrees(rows.loc[UP], dense(arrays[UP], arrays[UP] + products["blk.1.ffn_up.weight"]))
    assert rows.loc[Q].status == "skipped"
    assert "orders the rows" in rows.loc[Q].status_reason
    assert set(rows.drop([UP, Q]).status) == {"identical"}


class _Experts(nn.Module):
    def __init__(self):
        super().__init__()
        self.switch_mlp = nn.Module()
        switch = mlx_lm("models.switch_layers")
        self.switch_mlp.up_proj = switch.SwitchLinear(24, 40, 3, bias=False)


class _Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.mlp = _Experts()


class _Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = [_Layer()]


def test_stacked_experts_of_mlx_lm(tmp_path, rng):
    """Against mlx-lm's own fusing, which is in float32."""
    tuner = mlx_lm("tuner.utils")
    model, name = _Model(), "layers.0.mlp.switch_mlp.up_proj.weight"
    parameters = {"rank": 4, "scale": 20.0, "dropout": 0.0}
    with mx.stream(mx.cpu):
        before = np.array(model.layers[0].mlp.switch_mlp.up_proj.weight)
        model.freeze()
        tuner.linear_to_lora_layers(model, 1, parameters)
        lora = model.layers[0].mlp.switch_mlp.up_proj
        lora.lora_b = mx.array(0.01 * rng.standard_normal(lora.lora_b.shape), mx.float32)
        trained = {key: np.array(x) for key, x in tree_flatten(model.trainable_parameters())}
        after = np.array(lora.fuse().weight)
    (tmp_path / "lora").mkdir()
    write_safetensors(tmp_path / "lora" / "adapters.safetensors", trained)
    config = {"fine_tune_type": "lora", "lora_parameters": parameters}
    (tmp_path / "lora" / "adapter_config.json").write_text(json.dumps(config))
    folder = saved(tmp_path / "base", {name: before})
    rows = rows_of(folder, tmp_path / "lora", tmp_path / "out").set_index("expert_index")
    assert list(rows.status) == ["ok"] * 3
    for expert in range(3):
        difference = after[expert].astype(np.float64) - before[expert]
        np.testing.assert_allclose(
            rows.loc[expert].change_norm, np.linalg.norm(difference), rtol=1e-5
        )
        np.testing.assert_allclose(rows.loc[expert].max_change, np.abs(difference).max(), rtol=1e-4)


SQUARE = "transformer.h.0.attn.c_proj.weight"


@pytest.mark.parametrize(
    ("others", "model_type", "flag", "expected"),
    [
        ({"transformer.h.0.attn.c_attn.weight": (24, 72)}, None, False, True),
        ({"transformer.h.0.attn.c_attn.weight": (72, 24)}, "gpt2", True, False),
        ({"transformer.h.0.mlp.c_fc.weight": (24, 96)}, None, False, True),
        # GPT-BigCode has nn.Linear under these names, with one head of keys.
        ({"transformer.h.0.attn.c_attn.weight": (36, 24)}, "gpt_bigcode", True, False),
        ({}, "gpt2", False, True),
        ({}, None, True, True),
        ({}, None, False, False),
    ],
)
def test_how_a_square_matrix_of_gpt2_is_stored(others, model_type, flag, expected):
    assert is_conv1d(SQUARE, others | {SQUARE: (24, 24)}, model_type, flag) is expected


@pytest.mark.parametrize("name", ["lm_head.weight", "model.layers.0.self_attn.q_proj.weight"])
def test_other_modules_are_no_conv1d(name):
    assert not is_conv1d(name, {name: (24, 24)}, "gpt2", True)


def test_the_largest_change_of_a_product(arrays, base, tmp_path, rng):
    """It needs no element that is stored: the product is formed block by block."""
    a = rng.standard_normal((4, 40)).astype(np.float32)
    b = np.zeros((64, 4), np.float32)
    b[5] = 0.01
    module = f"base_model.model.{UP.removesuffix('.weight')}"
    stored = {f"{module}.lora_A.weight": a, f"{module}.lora_B.weight": b}
    lora = adapter(tmp_path / "lora", stored, {"r": 4, "lora_alpha": 4})
    row = rows_of(base, lora, tmp_path / "out").loc[UP]
    assert row.max_change == pytest.approx(np.abs(0.01 * a.sum(axis=0, dtype=float)).max(), 1e-6)
    assert row.changed_share == pytest.approx(1 / 64)
