"""Checkpoints of a very small model for tests of series, as transformers writes them."""

import json

import numpy as np
from weightfiles import write_safetensors

UP = "model.layers.0.mlp.up_proj.weight"
DOWN = "model.layers.1.mlp.down_proj.weight"


def checkpoints(folder, count=8, at=None, names="checkpoint-{}", every=100, first=1, seed=0):
    """Weights that drift; from checkpoint ``at`` on, from 1, the rank of `UP` is 3."""
    rng = np.random.default_rng(seed)
    arrays = {name: rng.standard_normal((12, 10)) for name in (UP, DOWN)}
    for number in range(1, count + 1):
        for value in arrays.values():
            value += 0.02 * rng.standard_normal(value.shape)
        if at is not None and number >= at:
            left, sigma, right = np.linalg.svd(arrays[UP], full_matrices=False)
            arrays[UP] = (left[:, :3] * sigma[:3]) @ right[:3]
        if number >= first:
            write_checkpoint(folder / names.format(number * every), arrays)
    return folder


def write_checkpoint(folder, arrays, step=None):
    folder.mkdir(parents=True, exist_ok=True)
    stored = {name: value.astype(np.float32) for name, value in arrays.items()}
    write_safetensors(folder / "model.safetensors", stored)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    if step is not None:
        (folder / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    return folder
