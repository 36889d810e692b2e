"""Small adapters with random factors: PEFT's form by hand, mlx-lm's by its own layers."""

import json

import mlx.core as mx
import numpy as np
from lab import mlx_lm
from mlx.utils import tree_flatten
from safetensors.numpy import load_file, save_file

RANK, SCALE = 3, 2.5
KEYS = ("self_attn.q_proj", "self_attn.v_proj", "mlp.down_proj")


def peft_adapter(folder, base, changes=None):
    """A LoRA of PEFT on some projections; the factors A and B by module."""
    rng = np.random.default_rng(4)
    weights = load_file(base / "model.safetensors")
    factors = {}
    for layer in range(2):
        for key in KEYS:
            name = f"model.layers.{layer}.{key}"
            rows, cols = weights[f"{name}.weight"].shape
            shapes = (RANK, cols), (rows, RANK)
            factors[name] = [rng.standard_normal(shape).astype("f4") / 4 for shape in shapes]
    stored = {}
    for name, pair in factors.items():
        for piece, each in zip(("lora_A", "lora_B"), pair, strict=True):
            stored[f"base_model.model.{name}.{piece}.weight"] = each
    folder.mkdir()
    save_file(stored, folder / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA", "r": RANK, "lora_alpha": SCALE * RANK, "bias": "none",
        "target_modules": [key.split(".")[1] for key in KEYS],
        "base_model_name_or_path": "someone/base", **(changes or {}),
    }  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return factors


def mlx_adapter(folder, base, kind, keys=KEYS, layers=2):
    """An adapter as mlx-lm trains and stores it; the model that has it."""
    utils, tuner = mlx_lm("utils"), mlx_lm("tuner.utils")
    model, _ = utils.load_model(base, lazy=True)
    settings = {"rank": RANK, "scale": SCALE, "dropout": 0.0, "keys": list(keys)}
    tuner.linear_to_lora_layers(model, layers, settings, use_dora=kind == "dora")
    rng = np.random.default_rng(6)
    trained = {}
    for name, array in tree_flatten(model.parameters()):
        if name.rpartition(".")[2] in ("lora_a", "lora_b"):
            trained[name] = mx.array(rng.standard_normal(array.shape).astype("f4") / 4)
        elif name.endswith(".m"):
            trained[name] = array * mx.array(rng.uniform(0.8, 1.2, array.shape).astype("f4"))
    model.load_weights(list(trained.items()), strict=False)
    folder.mkdir()
    mx.save_safetensors(str(folder / "adapters.safetensors"), trained)
    config = {"fine_tune_type": kind, "num_layers": layers, "lora_parameters": settings}
    (folder / "adapter_config.json").write_text(json.dumps({**config, "model": "someone/base"}))
    model.eval()
    return model


def logits(model):
    """In float64, of one text."""
    tokens = mx.array([[3, 17, 200, 5, 91, 44, 260, 8]])
    return np.array(model(tokens)[0].astype(mx.float32), np.float64)
