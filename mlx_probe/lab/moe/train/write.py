"""The trained mixture in Hugging Face's layout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any

import mlx.core as mx

from mlx_probe.analysis.stages import STAGES
from mlx_probe.checkpoint import open_checkpoint
from mlx_probe.core.files import write_error
from mlx_probe.lab.derived_model import copy_texts, write_json
from mlx_probe.lab.generate.folder import tokenizer_folder
from mlx_probe.lab.merge.tensors import merged_tensors
from mlx_probe.lab.moe.gate.install import mixtures
from mlx_probe.lab.moe.gate.layout import dynamic_config
from mlx_probe.lab.moe.train.opening import Mixture
from mlx_probe.lab.tensor_stream import StoredTensor, write_shards
from mlx_probe.lab.tensors_file import stored
from mlx_probe.lab.whole_folder import whole_folder
from mlx_probe.runs.monitor import UsageMeter
from mlx_probe.source import resolve

__all__ = ["write_mixture"]

# Of mlx-lm's stacked experts, in the order of `Stock.matrices`.
_PROJECTIONS = ("gate_proj", "up_proj", "down_proj")
_HEAD = "lm_head.weight"
_TYPES = {"F32": mx.float32, "F16": mx.float16, "BF16": mx.bfloat16}


def write_mixture(
    folder: Path, mixture: Mixture, learned: Mapping[str, mx.array], active: int | None
) -> int:
    """Write a mixture with its gates: a stock one with topk gates; see `layout` for dynamic ones.

    What was not learned keeps its bits, but for the down projections of topk gates whose scale is
    "parts": the stock classes scale nothing, so that K / F is multiplied into them, rounded once
    to their type where it is no power of two. What was learned is float32.

    Args:
        folder: Where; what is there is replaced.
        mixture: With the trained gates.
        learned: The trained weights, by their names in mlx-lm.
        active: Experts of a token of topk gates; None for dynamic ones.

    Returns:
        Numbers in it.

    Raises:
        ResultError: The disk refused.
    """
    source = mixture.loaded.folder
    factor = mixtures(mixture.network)[0].factor
    scale = active / factor if active is not None and factor else 1.0
    with open_checkpoint(resolve(str(source))) as model, UsageMeter(STAGES) as meter:
        plain = list(merged_tensors(model, {}, None, "F32", meter, lambda _: None))
        made = {each.name: each for each in _made(mixture, plain, learned, scale)}
        replaced = _replaced(mixture, learned, scale)
        tensors = [
            each
            for each in plain
            if each.name not in made and not any(each.name.startswith(name) for name in replaced)
        ]
        tensors += made.values()
        try:
            with whole_folder(folder) as new:
                write_shards(new, tensors)
                write_json(new / "config.json", _config(mixture, tensors, factor, active))
                copy_texts(source, tokenizer_folder(source), new)
        except OSError as error:
            raise write_error(folder, error) from error
    return sum(prod(each.shape) for each in tensors)


def _config(
    mixture: Mixture, tensors: list[StoredTensor], factor: float, active: int | None
) -> dict[str, Any]:
    # transformers casts to it: what was learned is float32 and shall stay so.
    kinds = {each.dtype for each in tensors}
    single = {"dtype": "float32", "torch_dtype": "float32"} if "F32" in kinds else {}
    config = {**mixture.config, **single}
    if active is None:
        return dynamic_config({**config, "num_experts_per_tok": mixture.experts}, factor)
    return {**config, "num_experts_per_tok": active}


def _replaced(mixture: Mixture, learned: Mapping[str, mx.array], scale: float) -> list[str]:
    """Beginnings of the names of tensors that are not taken over."""
    block = mixture.stock.block
    experts = scale != 1.0 or any("switch_mlp" in name for name in learned)
    inner = ("",) if experts else ("gate.",)
    names = [
        f"model.layers.{number}.{block}.{each}"
        for number in range(len(mixture.network.layers))
        for each in inner
    ]
    # A head that is tied is the embedding, whatever is stored.
    return [*names, _HEAD] if mixture.config.get("tie_word_embeddings") else names


def _made(
    mixture: Mixture, plain: list[StoredTensor], learned: Mapping[str, mx.array], scale: float
) -> Iterator[StoredTensor]:
    """Gates, and what else is other than in the files."""
    stock, types = mixture.stock, {each.name: each.dtype for each in plain}
    changes = scale != 1.0
    for number, block in enumerate(mixtures(mixture.network)):
        prefix = f"model.layers.{number}.{stock.block}"
        for name, array in block.gate.parameters().items():
            yield stored(f"{prefix}.gate.{name}", array.astype(mx.float32))
        for matrix, projection in enumerate(_PROJECTIONS):
            name = f"{prefix}.switch_mlp.{projection}.weight"
            if name not in learned and not changes:
                continue
            array = block.switch_mlp[projection].weight
            if matrix == 2 and changes:
                array = array * scale
            for expert in range(mixture.experts):
                one = stock.expert(number, expert, matrix)
                kind = mx.float32 if name in learned else _TYPES.get(types.get(one, ""))
                yield stored(one, array[expert].astype(kind or array.dtype))
    for name, array in learned.items():
        if f".{stock.block}." not in name:
            yield stored(name, array)
