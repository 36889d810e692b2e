"""The shape of a model, from its config.json."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_probe.core.errors import CheckpointError, damaged
from mlx_probe.lab.model.architecture import ABSENT, DEFAULTS, KEYS, THETA

__all__ = ["Shape", "read_shape"]

# Packed weights are unpacked while they are read.
_PACKED = ("quantization_config", "quantization")


@dataclass(frozen=True)
class Shape:
    """What decides the tensors and their use, in the terms of `ModelConfig`.

    `ModelConfig` is what we train; here a head may have any width.

    Attributes:
        model_type: The architecture, by config.json.
        dim: Width of the residual stream.
        layers: Transformer blocks.
        heads: Query heads.
        kv_heads: Heads of keys and values.
        head_dim: Width of a head.
        hidden: Width inside the feed-forward block.
        vocabulary: Rows of the embedding.
        context: Positions that the model was trained on.
        norm_epsilon: Added to the mean square in RMSNorm.
        rope_theta: Base of the rotary embedding's wavelengths.
        tied_embeddings: Whether the output head is the embedding.
    """

    model_type: str
    dim: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    hidden: int
    vocabulary: int
    context: int
    norm_epsilon: float
    rope_theta: float
    tied_embeddings: bool

    @property
    def query(self) -> int:
        """Rows of the query projection."""
        return self.heads * self.head_dim

    @property
    def key(self) -> int:
        """Rows of the key and value projections."""
        return self.kv_heads * self.head_dim


def read_shape(path: Path, config: Mapping[str, Any], known: Collection[str]) -> Shape:
    """The shape of a model.

    Args:
        path: config.json, for messages.
        config: Its content.
        known: Values of model_type that can be exported.

    Raises:
        CheckpointError: The model is of another architecture, has something that the file
            cannot say, or config.json is damaged.
    """
    model_type = config.get("model_type")
    if model_type not in known:
        raise CheckpointError(
            f"{path}: model_type is {model_type!r}, which is not exported to GGUF",
            f"Give {' or '.join(known)}; convert_hf_to_gguf.py of llama.cpp knows others",
        )
    for key, allowed in ABSENT.items():
        if key not in _PACKED and config.get(key, allowed[0]) not in allowed:
            raise _unsaid(path, f"{key} is {config[key]!r}")
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if not isinstance(rope, dict):
        raise damaged(path, f"rope_parameters is {rope!r}")
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind != "default":
        raise _unsaid(path, f"rope_type is {kind!r}")
    share = rope.get("partial_rotary_factor", config.get("partial_rotary_factor", 1))
    if share not in (1, None):
        raise _unsaid(path, f"partial_rotary_factor is {share!r}")
    values = {name: config.get(key, DEFAULTS.get(key)) for name, key in KEYS.items()}
    values["kv_heads"] = values["kv_heads"] or values["heads"]
    for name in ("dim", "layers", "heads", "kv_heads", "hidden", "vocabulary", "context"):
        if type(values[name]) is not int or values[name] < 1:
            raise damaged(path, f"{KEYS[name]} is {values[name]!r}, not a count")
    # Qwen3Config takes 128 for what is left out, LlamaConfig a head's share.
    share_of_head = 128 if model_type == "qwen3" else values["dim"] // values["heads"]
    values["head_dim"] = config.get("head_dim") or share_of_head
    values["rope_theta"] = rope.get("rope_theta", config.get("rope_theta", THETA))
    for name in ("norm_epsilon", "rope_theta", "head_dim"):
        if not isinstance(values[name], int | float) or not values[name] > 0:
            raise damaged(path, f"{KEYS.get(name, name)} is {values[name]!r}, not above 0")
    if values["head_dim"] % 2:
        raise damaged(path, f"head_dim is {values['head_dim']}, and rotary embeddings turn pairs")
    return Shape(model_type=str(model_type), **values)


def _unsaid(path: Path, fact: str) -> CheckpointError:
    return CheckpointError(
        f"{path}: {fact}, which the export to GGUF does not know",
        "Convert it with convert_hf_to_gguf.py of llama.cpp",
    )
