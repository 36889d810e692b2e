"""Large models by their published configurations: names, types and shapes of every tensor.

`write_sparse` makes a checkpoint of one: real headers, and a hole in the file where the numbers
would be. It takes no space, and a plan of it is the plan of the model.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from _checkpoints import Shape, nbytes, write_header
from _rehearsal_deepseek import Deepseek
from _rehearsal_models import Tensors

__all__ = ["ARCHITECTURES", "write_sparse"]


def dense(
    layers: int, hidden: int, inner: int, heads: tuple[int, int], vocabulary: int
) -> tuple[Tensors, dict[str, Any]]:
    """Llama in bfloat16.

    Args:
        layers: Layers.
        hidden: Width.
        inner: Hidden units of a feed-forward block.
        heads: Of queries and of keys and values, with 128 dimensions each.
        vocabulary: Tokens.
    """
    queries, keys = (128 * count for count in heads)
    tensors: Tensors = {"model.embed_tokens.weight": ("BF16", (vocabulary, hidden))}
    for layer in range(layers):
        block = f"model.layers.{layer}"
        shapes: dict[str, Shape] = {
            "self_attn.q_proj": (queries, hidden),
            "self_attn.k_proj": (keys, hidden),
            "self_attn.v_proj": (keys, hidden),
            "self_attn.o_proj": (hidden, queries),
            "mlp.gate_proj": (inner, hidden),
            "mlp.up_proj": (inner, hidden),
            "mlp.down_proj": (hidden, inner),
            "input_layernorm": (hidden,),
            "post_attention_layernorm": (hidden,),
        }
        tensors |= {f"{block}.{name}.weight": ("BF16", shape) for name, shape in shapes.items()}
    tensors["model.norm.weight"] = "BF16", (hidden,)
    tensors["lm_head.weight"] = "BF16", (vocabulary, hidden)
    return tensors, {"model_type": "llama", "num_hidden_layers": layers, "hidden_size": hidden}


def llama_7b() -> tuple[Tensors, dict[str, Any]]:
    """Llama 2."""
    return dense(32, 4096, 11008, (32, 32), 32000)


def llama_70b() -> tuple[Tensors, dict[str, Any]]:
    """Llama 3."""
    return dense(80, 8192, 28672, (64, 8), 128256)


def qwen3_30b() -> tuple[Tensors, dict[str, Any]]:
    """Qwen3-30B-A3B in bfloat16: 48 layers of 128 experts of 768 x 2,048."""
    tensors: Tensors = {"model.embed_tokens.weight": ("BF16", (151936, 2048))}
    for layer in range(48):
        block = f"model.layers.{layer}"
        shapes: dict[str, Shape] = {
            "self_attn.q_proj": (4096, 2048),
            "self_attn.k_proj": (512, 2048),
            "self_attn.v_proj": (512, 2048),
            "self_attn.o_proj": (2048, 4096),
            "self_attn.q_norm": (128,),
            "self_attn.k_norm": (128,),
            "mlp.gate": (128, 2048),
            "input_layernorm": (2048,),
            "post_attention_layernorm": (2048,),
        }
        for expert in range(128):
            shapes |= _expert(f"mlp.experts.{expert}", 768, 2048)
        tensors |= {f"{block}.{name}.weight": ("BF16", shape) for name, shape in shapes.items()}
    tensors["model.norm.weight"] = "BF16", (2048,)
    tensors["lm_head.weight"] = "BF16", (151936, 2048)
    return tensors, {"model_type": "qwen3_moe", "num_hidden_layers": 48, "num_experts": 128}


def deepseek_v3() -> tuple[Tensors, dict[str, Any]]:
    """DeepSeek-V3, 671B and a layer that predicts a second token: FP8 in blocks with scales."""
    model = Deepseek().model()
    tensors: Tensors = {}
    for stage in model.stages:
        tensors |= stage
    return tensors, dict(model.config)


def _expert(name: str, inner: int, hidden: int) -> dict[str, Shape]:
    return {
        f"{name}.gate_proj": (inner, hidden),
        f"{name}.up_proj": (inner, hidden),
        f"{name}.down_proj": (hidden, inner),
    }


# By the name in tables.
ARCHITECTURES: Mapping[str, Callable[[], tuple[Tensors, dict[str, Any]]]] = {
    "Llama 2 7B, bfloat16": llama_7b,
    "Qwen3-30B-A3B, bfloat16": qwen3_30b,
    "Llama 3 70B, bfloat16": llama_70b,
    "DeepSeek-V3 671B, FP8": deepseek_v3,
}


def write_sparse(folder: Path, tensors: Tensors, config: Mapping[str, Any]) -> Path:
    """A checkpoint of empty tensors, in one file.

    Args:
        folder: Made here.
        tensors: Type and shape by name.
        config: Becomes config.json.

    Returns:
        The folder.
    """
    folder.mkdir()
    with (folder / "model.safetensors").open("wb") as file:
        write_header(file, tensors)
        file.truncate(file.tell() + sum(nbytes(*tensor) for tensor in tensors.values()))
    (folder / "config.json").write_text(json.dumps(config))
    return folder
