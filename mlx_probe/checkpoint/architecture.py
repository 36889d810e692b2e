"""What a checkpoint says of its network: the numbers that fused weights are cut by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

__all__ = ["Architecture", "read_architecture", "text_config"]

# Our field -> config.json's names for it, the usual one first.
_CONFIG_KEYS = {
    "layers": ("num_hidden_layers", "n_layer", "n_layers", "num_layers"),
    "hidden_size": ("hidden_size", "n_embd", "d_model", "dim"),
    "heads": ("num_attention_heads", "n_head", "n_heads", "num_heads"),
    "kv_heads": ("num_key_value_heads", "num_kv_heads", "n_head_kv", "multi_query_group_num"),
    "head_dim": ("head_dim", "attention_head_dim", "kv_channels"),
    "intermediate_size": ("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size"),
    "moe_intermediate_size": ("moe_intermediate_size", "expert_intermediate_size"),
    "experts": ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts"),
    "vocab_size": ("vocab_size", "padded_vocab_size"),
}
# Our field -> GGUF's key below the architecture's name.
_GGUF_KEYS = {
    "layers": "block_count",
    "hidden_size": "embedding_length",
    "heads": "attention.head_count",
    "kv_heads": "attention.head_count_kv",
    "head_dim": "attention.key_length",
    "intermediate_size": "feed_forward_length",
    "moe_intermediate_size": "expert_feed_forward_length",
    "experts": "expert_count",
    "vocab_size": "vocab_size",
}


@dataclass(frozen=True)
class Architecture:
    """The shape of a network, as far as its files tell.

    Attributes:
        model_type: The family's name in transformers or GGUF.
        layers: Blocks.
        hidden_size: Width of the residual stream.
        heads: Query heads.
        kv_heads: Key and value heads.
        head_dim: Width of a head.
        intermediate_size: Width of a dense MLP.
        moe_intermediate_size: Width of an expert.
        experts: Routed experts in a block.
        vocab_size: Tokens.
        flags: Whatever else decides how fused weights lie ("multi_query" ...).
    """

    model_type: str | None = None
    layers: int | None = None
    hidden_size: int | None = None
    heads: int | None = None
    kv_heads: int | None = None
    head_dim: int | None = None
    intermediate_size: int | None = None
    moe_intermediate_size: int | None = None
    experts: int | None = None
    vocab_size: int | None = None
    flags: frozenset[str] = frozenset()

    def describe(self) -> dict[str, Any]:
        """What is known, by field, for metadata and people."""
        known = {field.name: getattr(self, field.name) for field in fields(self)}
        del known["flags"]
        return {name: value for name, value in known.items() if value is not None}


def text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """A configuration with what a multimodal model says of its language part on top."""
    text = config.get("text_config") or config.get("llm_config") or config.get("language_config")
    return {**config, **text} if isinstance(text, Mapping) else config


def read_architecture(config: Mapping[str, Any], metadata: Mapping[str, Any]) -> Architecture:
    """The architecture as a GGUF file's metadata tell it, or config.json.

    A GGUF file's own come first: what llama.cpp converted no longer lies as config.json says.

    Args:
        config: config.json; of a multimodal model its ``text_config`` counts.
        metadata: The weight files' own metadata.
    """
    name = metadata.get("general.architecture")
    if isinstance(name, str):
        found = {field: metadata.get(f"{name}.{key}") for field, key in _GGUF_KEYS.items()}
        return _complete(name, found, frozenset({"gguf"}))
    merged = text_config(config)
    model_type = merged.get("model_type")
    found = {
        field: next((merged[key] for key in keys if merged.get(key) is not None), None)
        for field, keys in _CONFIG_KEYS.items()
    }
    flags = {key for key, value in merged.items() if value is True}
    return _complete(model_type if isinstance(model_type, str) else None, found, frozenset(flags))


def _complete(
    model_type: str | None, found: Mapping[str, Any], flags: frozenset[str]
) -> Architecture:
    # Lists (a value for each layer) and nonsense are as good as nothing.
    known = {
        name: value for name, value in found.items() if type(value) is int and 0 < value < 2**40
    }
    heads, hidden = known.get("heads"), known.get("hidden_size")
    if heads and hidden and "head_dim" not in known and hidden % heads == 0:
        known["head_dim"] = hidden // heads
    if "multi_query" in flags and "new_decoder_architecture" not in flags:
        # Falcon-7B's config.json tells another number beside it, which its code does not use.
        known["kv_heads"] = 1
    elif heads and not isinstance(found.get("kv_heads"), list):
        known.setdefault("kv_heads", heads)
    return Architecture(model_type=model_type, flags=flags, **known)
