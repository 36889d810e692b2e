"""Adapters as PEFT and mlx-lm write them."""

import json
import math

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from adapter_fixtures import written
from lab import mlx_lm
from mlx.utils import tree_flatten
from weightfiles import model_files, write_safetensors

from mlx_probe.checkpoint import ADAPTERS, open_checkpoint
from mlx_probe.checkpoint.adapters.scaling import pattern_value
from mlx_probe.source import resolve

PREFIX = "base_model.model.model.layers.0.self_attn"


def opened(path, arrays, config):
    (path / "adapter_config.json").write_text(json.dumps(config))
    file = write_safetensors(path / "adapter_model.safetensors", arrays)
    return open_checkpoint(model_files(file, config=path / "adapter_config.json"))


def factors(prefix, rank, middle=""):
    return {
        f"{prefix}.lora_A{middle}.weight": np.ones((rank, 32), np.float32),
        f"{prefix}.lora_B{middle}.weight": np.ones((64, rank), np.float32),
    }


@pytest.mark.parametrize("middle", ["", ".default"])
@pytest.mark.parametrize(("rslora", "scale"), [(False, 2.0), (True, 16 / math.sqrt(8))])
def test_peft(tmp_path, middle, rslora, scale):
    arrays = factors(f"{PREFIX}.q_proj", 8, middle) | factors(f"{PREFIX}.v_proj", 8, middle)
    config = {"r": 8, "lora_alpha": 16, "use_rslora": rslora, "base_model_name_or_path": "a/b"}
    checkpoint = opened(tmp_path, arrays, config)
    adapter = checkpoint.adapter
    assert (adapter.kind, adapter.layout, adapter.ranks) == ("lora", "peft", (8,))
    assert (adapter.alpha, adapter.scale) == (16, scale)
    assert adapter.targets == ("model.layers.0.self_attn.q_proj", "model.layers.0.self_attn.v_proj")
    assert adapter.base_model == "a/b"
    roles = [
        (w.role.block_type, w.role.component, w.role.layer_index) for w in checkpoint.weights()
    ]
    assert roles == [("lora_a", "attention", 0), ("lora_b", "attention", 0)] * 2


def test_dora_of_several_ranks(tmp_path):
    arrays = factors(f"{PREFIX}.q_proj", 4) | factors(f"{PREFIX}.v_proj", 8)
    arrays[f"{PREFIX}.q_proj.lora_magnitude_vector"] = np.ones(64, np.float32)
    adapter = opened(tmp_path, arrays, {"lora_alpha": 16}).adapter
    assert (adapter.kind, adapter.ranks, adapter.scale) == ("dora", (4, 8), None)


KINDS = {
    "lora on every projection": "lora",
    "dora": "dora",
    "adalora": "adalora",
    "loha by pattern": "loha",
    "lokr": "lokr",
    "vera": "vera",
    "ia3 of gpt2": "ia3",
    "oft": "oft",
    "boft": "boft",
    "hra": "hra",
    "miss": "miss",
    "c3a": "c3a",
    "shira": "shira",
    "ln tuning": "ln_tuning",
    "tokens alone": "trainable_tokens",
}


def test_every_kind_that_is_computed_is_here():
    computed = {key for key, kind in ADAPTERS.items() if kind.scheme is not None}
    assert computed <= set(KINDS.values())


@pytest.mark.parametrize(("name", "kind"), KINDS.items())
def test_kinds_as_peft_saves_them(tmp_path, name, kind):
    adapter = open_checkpoint(resolve(str(written(name, tmp_path)[1]))).adapter
    assert (adapter.kind, adapter.layout) == (kind, "peft")
    assert adapter.targets
    assert all(not target.startswith("base_model") for target in adapter.targets)
    assert adapter.refusal({}) is None


@pytest.mark.parametrize(("name", "kind"), KINDS.items())
def test_kinds_without_a_configuration(tmp_path, name, kind):
    """By the names of the tensors; AdaLoRA passes for a LoRA, whose rows then say why not."""
    folder = written(name, tmp_path)[1]
    (folder / "adapter_config.json").write_text("{}")
    adapter = open_checkpoint(resolve(str(folder))).adapter
    assert adapter.kind == ("lora" if kind == "adalora" else kind)


@pytest.mark.parametrize(
    ("patterns", "name", "expected"),
    [
        ({"q_proj": 1}, "model.layers.0.self_attn.q_proj", 1),
        ({"proj": 1}, "model.layers.0.self_attn.q_proj", 9),
        ({"self_attn.q_proj": 1}, "model.layers.0.self_attn.q_proj", 1),
        ({"self_attn": 1}, "model.layers.0.self_attn.q_proj", 9),
        ({r"layers\.(0|3)\..*": 1}, "model.layers.3.mlp.up_proj", 1),
        ({r"layers\.(0|3)\..*": 1}, "model.layers.13.mlp.up_proj", 9),
        ({".*": 1, "q_proj": 2}, "model.layers.0.self_attn.q_proj", 1),
        ({"^model.layers.0.self_attn.q_proj": 1}, "model.layers.0.self_attn.q_proj", 1),
        ({"q_proj$": 1}, "model.layers.0.self_attn.q_proj", 1),
        ("q_proj", "q_proj", 9),
    ],
)
def test_the_first_pattern_that_matches_wins(patterns, name, expected):
    assert pattern_value(patterns, name, 9) == expected


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.self_attn = nn.Module()
        self.self_attn.q_proj = nn.Linear(32, 64)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = [Block(), Block()]


@pytest.mark.parametrize("dora", [False, True])
def test_what_mlx_lm_trains(tmp_path, dora):
    tuner = mlx_lm("tuner.utils")
    model = Model()
    model.freeze()
    parameters = {"rank": 4, "scale": 20.0, "dropout": 0.0}
    with mx.stream(mx.cpu):
        tuner.linear_to_lora_layers(model, 2, parameters, use_dora=dora)
        trained = {name: np.array(x) for name, x in tree_flatten(model.trainable_parameters())}
    write_safetensors(tmp_path / "adapters.safetensors", trained)
    # Left over from training: another state of the same adapter.
    write_safetensors(tmp_path / "0000100_adapters.safetensors", trained)
    config = {"fine_tune_type": "dora" if dora else "lora", "lora_parameters": parameters}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config | {"model": "a/b"}))
    checkpoint = open_checkpoint(resolve(str(tmp_path)))
    adapter = checkpoint.adapter
    assert (adapter.kind, adapter.layout) == ("dora" if dora else "lora", "mlx-lm")
    assert (adapter.ranks, adapter.alpha, adapter.scale) == ((4,), None, 20.0)
    assert adapter.targets == ("layers.0.self_attn.q_proj", "layers.1.self_attn.q_proj")
    kinds = {"lora_a", "lora_b"} | ({"dora_magnitude"} if dora else set())
    assert {w.role.block_type for w in checkpoint.weights()} == kinds


def test_a_model_is_no_adapter(tmp_path):
    assert opened(tmp_path, {"w": np.ones((2, 2), np.float32)}, {"r": 8}).adapter is None
