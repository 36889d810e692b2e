"""Mixtures on disk that experts are taken from, and what is left of them by masking routers."""

import json
import shutil

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from lab import mlx_lm
from mlx.utils import tree_flatten
from tiny_mixtures import FAMILIES, SHAPE, mixture

IDS = [[3, 17, 20, 5, 91, 44, 60, 8, 12, 31, 77, 50]]


def write_family(folder, family, tokenizer=None, bits=0, **settings):
    """A tiny mixture in the names of mlx-lm, packed where ``bits`` says so; gives the folder."""
    if tokenizer is not None:
        settings["vocab_size"] = tokenizer.vocabulary
    model = mixture(family, **settings)
    config = {**SHAPE, "model_type": family, **FAMILIES.get(family, {}), **settings}
    if bits:
        nn.quantize(model, 32, bits)
        config["quantization"] = {"group_size": 32, "bits": bits}
    folder.mkdir(parents=True)
    weights = {
        # mlx-lm gives the experts of other groups 0: those that are chosen must have more.
        name: mx.abs(array) if name.endswith("e_score_correction_bias") else array
        for name, array in tree_flatten(model.parameters())
    }
    mx.save_safetensors(str(folder / "model.safetensors"), weights, {"format": "mlx"})
    (folder / "config.json").write_text(json.dumps(config))
    if tokenizer is not None:
        for path in tokenizer.folder.iterdir():
            shutil.copy(path, folder / path.name)
    return folder


class Masked(nn.Module):
    """A router that never prefers some experts."""

    def __init__(self, inner, kept):
        super().__init__()
        self.inner, self._kept = inner, kept

    def __call__(self, x):
        scores = self.inner(x)
        keeps = mx.array(np.isin(np.arange(scores.shape[-1]), self._kept))
        return mx.where(keeps, scores, -mx.inf)


def masked_logits(folder, kept):
    """Logits of a mixture whose routers choose among some experts of each layer only."""
    model, _ = mlx_lm("utils").load_model(folder)
    for number, layer in enumerate(model.model.layers):
        block = layer.block_sparse_moe if "block_sparse_moe" in layer else layer.mlp
        if "router" in block:
            if "layer" in block.router:
                block.router.layer = Masked(block.router.layer, kept[number])
            else:
                block.router = Masked(block.router, kept[number])
        elif "e_score_correction_bias" in block.gate:
            bias = np.array(block.gate.e_score_correction_bias)
            keeps = np.isin(np.arange(len(bias)), kept[number])
            block.gate.e_score_correction_bias = mx.array(np.where(keeps, bias, -1e9))
        else:
            block.gate = Masked(block.gate, kept[number])
    return _logits(model)


def logits_of(folder):
    model, _ = mlx_lm("utils").load_model(folder)
    return _logits(model)


def _logits(model):
    return np.array(model(mx.array(IDS)).astype(mx.float32))


def in_transformers(folder):
    """Logits of a stock mixture in transformers; every tensor has its place there."""
    import torch
    from transformers import AutoModelForCausalLM

    model, found = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True
    )
    assert not found["missing_keys"]
    assert not found["unexpected_keys"]
    with torch.no_grad():
        return model.eval()(torch.tensor(IDS)).logits.numpy()
