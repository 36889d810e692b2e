"""The shape of a network, from the metadata of its GGUF file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mlx_probe.checkpoint.weight import Weight
from mlx_probe.core.errors import CheckpointError, damaged
from mlx_probe.lab.export.gguf.architectures import ARCHITECTURES, Architecture
from mlx_probe.lab.export.gguf.shape import Shape
from mlx_probe.lab.model.architecture import KEYS, THETA

__all__ = ["config_json", "read_architecture", "read_shape"]

# Keys of a file's metadata behind its architecture, by the fields of `Shape`.
_COUNTS = {
    "dim": "embedding_length",
    "layers": "block_count",
    "heads": "attention.head_count",
    "hidden": "feed_forward_length",
    "context": "context_length",
}
_CLASSES = {"llama": "LlamaForCausalLM", "qwen3": "Qwen3ForCausalLM"}


def read_architecture(path: Path, metadata: Mapping[str, Any]) -> Architecture:
    """The architecture of a file.

    Raises:
        CheckpointError: It is not known here.
    """
    name = metadata.get("general.architecture")
    if name not in _CLASSES or name not in ARCHITECTURES:
        raise CheckpointError(
            f"{path}: a GGUF file of architecture {name!r} is not run here",
            f"Give one of {', '.join(_CLASSES)}, or the model that the GGUF was made from",
        )
    return ARCHITECTURES[name]


def read_shape(
    path: Path,
    architecture: Architecture,
    metadata: Mapping[str, Any],
    weights: Mapping[str, Weight],
) -> Shape:
    """The shape of a model.

    Args:
        path: The file, for messages.
        architecture: Its architecture.
        metadata: The file's.
        weights: By llama.cpp's names.

    Raises:
        CheckpointError: A key is missing, or the model has what Hugging Face's layout is not
            written with here.
    """
    prefix = f"{architecture.name}."
    values: dict[str, Any] = {name: metadata.get(prefix + key) for name, key in _COUNTS.items()}
    values["kv_heads"] = metadata.get(f"{prefix}attention.head_count_kv", values["heads"])
    embedding = weights.get("token_embd.weight")
    values["vocabulary"] = embedding.shape[0] if embedding is not None else None
    for name, value in values.items():
        if type(value) is not int or value < 1:
            key = prefix + _COUNTS.get(name, name)
            raise damaged(path, f"{key} is {value!r}, not a count")
    scaling = metadata.get(f"{prefix}rope.scaling.type", "none")
    if scaling != "none":
        raise CheckpointError(
            f"{path}: rope.scaling.type is {scaling!r}, which is not imported",
            "Give the model that the GGUF was made from",
        )
    width = values["dim"] // values["heads"]
    head_dim = metadata.get(f"{prefix}attention.key_length", width)
    if metadata.get(f"{prefix}rope.dimension_count", head_dim) != head_dim:
        raise CheckpointError(
            f"{path}: rotary embeddings turn a part of each head, which is not imported",
            "Give the model that the GGUF was made from",
        )
    return Shape(
        model_type=architecture.name,
        **values,
        head_dim=head_dim,
        rotary=head_dim,
        norm_epsilon=_plain(metadata.get(f"{prefix}attention.layer_norm_rms_epsilon", 1e-6)),
        rope_theta=_plain(metadata.get(f"{prefix}rope.freq_base", THETA)),
        tied_embeddings="output.weight" not in weights,
    )


def config_json(shape: Shape, dtype: str, ends: Mapping[str, Any]) -> dict[str, Any]:
    """The content of config.json.

    Args:
        shape: The model.
        dtype: Numbers of the stored weights.
        ends: Ids of the tokens with a role, by their keys.
    """
    return {
        "architectures": [_CLASSES[shape.model_type]],
        "model_type": shape.model_type,
        **{key: getattr(shape, name) for name, key in KEYS.items()},
        "head_dim": shape.head_dim,
        "hidden_act": "silu",
        "attention_bias": False,
        # transformers 5 reads the second, mlx-lm and older versions the first.
        "rope_theta": shape.rope_theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": shape.rope_theta},
        # Explicit nulls: LlamaConfig takes 1 and 2 for what is left out.
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": None,
        **ends,
        "use_cache": True,
        "dtype": dtype,
        "torch_dtype": dtype,
    }


def _plain(number: float) -> float:
    """1e-05 for the float32 nearest to it, which the file holds."""
    return float(str(np.float32(number)))
