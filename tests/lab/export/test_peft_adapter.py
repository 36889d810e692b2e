"""Adapters of mlx-lm in PEFT's form: what is written, and what the engine makes of both."""

import json

import mlx.core as mx
import numpy as np
import pytest
from lab import mlx_lm
from lora_adapters import KEYS, RANK, SCALE, mlx_adapter, peft_adapter
from safetensors.numpy import load_file, save_file
from tiny_llm import make_model, make_tokenizer

from mlx_probe.core.errors import CheckpointError, ConfigError, ResultError
from mlx_probe.lab.export import EXPORTS
from mlx_probe.lab.merge import merge_adapter

export = EXPORTS["peft"]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    mlx_lm("utils")
    root = tmp_path_factory.mktemp("base")
    with mx.stream(mx.cpu):
        return make_model(root / "model", make_tokenizer(root / "tokenizer"))


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_both_are_the_same_change(tmp_path, base, kind):
    with mx.stream(mx.cpu):
        mlx_adapter(tmp_path / "theirs", base, kind)
    exported = export(str(tmp_path / "theirs"), tmp_path / "ours")
    assert (exported.architecture, exported.type) == (kind, "f32")
    assert exported.tensors == 2 * len(KEYS) * (3 if kind == "dora" else 2)
    config = json.loads((tmp_path / "ours" / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"]) == (RANK, RANK * SCALE)
    assert config["use_dora"] == (kind == "dora")
    assert config["target_modules"] == sorted(KEYS)
    assert (config["layers_to_transform"], config["layers_pattern"]) == ([0, 1], "layers")
    assert config["base_model_name_or_path"] == "someone/base"
    for name in ("theirs", "ours"):
        merge_adapter(str(base), str(tmp_path / name), tmp_path / f"merged-{name}")
    a, b = (load_file(tmp_path / f"merged-{name}" / "model.safetensors")
            for name in ("theirs", "ours"))  # fmt: skip
    for name, array in a.items():
        np.testing.assert_allclose(b[name], array, rtol=0, atol=1e-6, err_msg=name)


def test_ranks_that_differ(tmp_path, base):
    with mx.stream(mx.cpu):
        mlx_adapter(tmp_path / "theirs", base, "lora")
    path = tmp_path / "theirs" / "adapters.safetensors"
    weights = load_file(path)
    module = "model.layers.1.self_attn.q_proj"
    weights[f"{module}.lora_a"] = weights[f"{module}.lora_a"][:, :2].copy()
    weights[f"{module}.lora_b"] = weights[f"{module}.lora_b"][:2].copy()
    save_file(weights, path)
    export(str(tmp_path / "theirs"), tmp_path / "ours", "bf16")
    config = json.loads((tmp_path / "ours" / "adapter_config.json").read_text())
    assert config["rank_pattern"] == {module: 2}
    assert config["alpha_pattern"] == {module: 2 * SCALE}


def test_modules_of_some_layers_by_their_full_names(tmp_path, base):
    with mx.stream(mx.cpu):
        mlx_adapter(tmp_path / "theirs", base, "lora")
    path = tmp_path / "theirs" / "adapters.safetensors"
    weights = load_file(path)
    for piece in ("lora_a", "lora_b"):
        del weights[f"model.layers.0.mlp.down_proj.{piece}"]
    save_file(weights, path)
    export(str(tmp_path / "theirs"), tmp_path / "ours")
    config = json.loads((tmp_path / "ours" / "adapter_config.json").read_text())
    assert "model.layers.1.mlp.down_proj" in config["target_modules"]
    assert len(config["target_modules"]) == 5
    assert config["layers_to_transform"] is None


@pytest.mark.parametrize(
    ("name", "shape", "says"),
    [
        ("model.layers.0.mlp.switch_mlp.up_proj.lora_a", (2, 3, 32), "is a stack of experts"),
        ("model.norm.weight", (32,), "is no factor of a LoRA"),
        ("model.embed_tokens.m", (320,), "is no factor of a LoRA"),
    ],
)
def test_what_has_no_form(tmp_path, base, name, shape, says):
    with mx.stream(mx.cpu):
        mlx_adapter(tmp_path / "theirs", base, "lora")
    path = tmp_path / "theirs" / "adapters.safetensors"
    save_file({**load_file(path), name: np.ones(shape, "f4")}, path)
    with pytest.raises(CheckpointError, match=f"has no form in PEFT: it {says}"):
        export(str(tmp_path / "theirs"), tmp_path / "ours")
    assert not (tmp_path / "ours").exists()


def test_what_is_no_adapter_of_mlx_lm(tmp_path, base):
    peft_adapter(tmp_path / "peft", base)
    with pytest.raises(CheckpointError, match=r"is an adapter \(lora, peft\), not LoRA or DoRA"):
        export(str(tmp_path / "peft"), tmp_path / "ours")
    with pytest.raises(CheckpointError, match="is no adapter, not LoRA"):
        export(str(base), tmp_path / "ours")
    with pytest.raises(ConfigError, match="writes no q8_0"):
        export(str(base), tmp_path / "ours", "q8_0")
    with pytest.raises(ResultError, match="is not empty"):
        export(str(base), tmp_path)
