"""The shape of the network by the checkpoint's own words: heads, widths, experts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

__all__ = ["Architecture", "read_architecture", "text_config"]

# Our field -> names in config.json, the usual one first.
_CONFIG_KEYS = {
    "layers": ("num_hidden_layers", "n_layer", "n_layers", "num_layers"),
    "hidden_size": ("hidden_size", "n_embd", "d_model", "dim"),
    "heads": ("num_attention_heads", "n_head", "n_heads", "num_heads", "attention_heads"),
    "kv_heads": (
        "num_key_value_heads",
        "num_kv_heads",
        "n_kv_heads",
        "n_head_kv",
        "num_query_groups",
    ),
    "head_dim": ("head_dim", "attention_head_dim", "kv_channels", "d_kv", "dim_head"),
    "intermediate_size": ("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size"),
    "moe_intermediate_size": ("moe_intermediate_size", "expert_intermediate_size"),
    "experts": ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts"),
    "vocab_size": ("vocab_size", "padded_vocab_size"),
    "kv_shared": ("num_kv_shared_layers",),
}
# Settings that are on in the model's code if config.json leaves them out.
_ON_UNLESS_OFF = {
    "falcon": ("multi_query",),
    "gpt_bigcode": ("multi_query",),
    "llama4_text": ("use_qk_norm",),
}
# llama.cpp knows Llama 4 Maverick, the one without norms of queries and keys, by its experts.
_MAVERICK_EXPERTS = 128
# Far above any model: a damaged number must not become a long list.
_MOST_LAYERS = 1 << 14
# Numbers that matter here only as switches: our flag -> GGUF's key below the architecture's name.
_SWITCHES = {
    "attn_logit_softcapping": "attn_logit_softcapping",
    "clip_qkv": "attention.clamp_kqv",
    "attn_temperature_tuning": "attention.temperature_scale",
    "llama_4_scaling_beta": "attention.temperature_length",
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
    "kv_shared": "attention.shared_kv_layers",
}


@dataclass(frozen=True)
class Architecture:
    """The shape of a network, as far as its files say.

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
        kv_shared: Blocks at the end that use the keys and values of an earlier block.
        flags: Other settings that are on: the layout of fused weights depends on some
            ("multi_query"), the circuits of heads on others ("clip_qkv").
        unrotated: Numbers of blocks without rotary embeddings, where only some have them.
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
    kv_shared: int | None = None
    flags: frozenset[str] = frozenset()
    unrotated: frozenset[int] = frozenset()

    def describe(self) -> dict[str, Any]:
        """The known fields, for metadata and people."""
        known = {field.name: getattr(self, field.name) for field in fields(self)}
        for name in ("flags", "unrotated", "kv_shared"):
            del known[name]
        return {name: value for name, value in known.items() if value is not None}


def text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """A configuration, overlaid with the language part's own if the model is multimodal."""
    text = config.get("text_config") or config.get("llm_config") or config.get("language_config")
    return {**config, **text} if isinstance(text, Mapping) else config


def read_architecture(config: Mapping[str, Any], metadata: Mapping[str, Any]) -> Architecture:
    """The architecture, from a GGUF file's metadata or else from config.json.

    A GGUF file's metadata come first: llama.cpp's converter changes the layout of weights, so
    config.json may not describe them.

    Args:
        config: config.json; for a multimodal model ``text_config`` takes precedence.
        metadata: The weight files' own metadata.
    """
    name = metadata.get("general.architecture")
    if isinstance(name, str):
        values = {field: metadata.get(f"{name}.{key}") for field, key in _GGUF_KEYS.items()}
        on = {flag for flag, key in _SWITCHES.items() if metadata.get(f"{name}.{key}")}
        if name == "llama4" and values["experts"] != _MAVERICK_EXPERTS:
            on.add("use_qk_norm")
        return _complete(name, values, frozenset({"gguf", *on}), metadata)
    merged = text_config(config)
    named = merged.get("model_type")
    model_type = named if isinstance(named, str) else None
    values = {
        field: next((merged[key] for key in keys if merged.get(key) is not None), None)
        for field, keys in _CONFIG_KEYS.items()
    }
    flags = {key for key, value in merged.items() if value is True}
    flags |= {flag for flag in _ON_UNLESS_OFF.get(model_type or "", ()) if flag not in merged}
    nested = [merged.get(key) for key in ("attn_config", "rope_parameters", "rope_scaling")]
    sources = [merged, *(part for part in nested if isinstance(part, Mapping))]
    flags |= {flag for flag in _SWITCHES if any(source.get(flag) for source in sources)}
    values["heads"] = values["heads"] or _stacks_heads(merged)
    values["kv_heads"] = _kv_heads(model_type, values, merged, flags)
    return _complete(model_type, values, frozenset(flags), merged)


def _stacks_heads(config: Mapping[str, Any]) -> Any:
    """The heads of encoder and decoder, if both have as many or the model has one of them."""
    stacks = {
        config[key]
        for prefix in ("", "num_")
        for stack in ("encoder", "decoder")
        if type(config.get(key := f"{prefix}{stack}_attention_heads")) is int
    }
    return stacks.pop() if len(stacks) == 1 else None


def _kv_heads(
    model_type: str | None, values: Mapping[str, Any], config: Mapping[str, Any], flags: set[str]
) -> Any:
    """Key and value heads: some families have a setting that turns the number on or off."""
    nested = config.get("attn_config")
    if isinstance(nested, Mapping):  # MPT and DBRX
        single = nested.get("attn_type") == "multiquery_attention"
        return 1 if single else nested.get("kv_n_heads") or values["kv_heads"]
    if model_type == "chatglm":
        on = "multi_query_attention" in flags
        return config.get("multi_query_group_num") if on else values["heads"]
    if "new_decoder_architecture" in flags:
        return values["kv_heads"]
    # Falcon-7B's config.json has another number, which its code does not use.
    if "multi_query" in flags or ("multi_query_attention" in flags and values["kv_heads"] is None):
        return 1
    return values["heads"] if model_type in ("falcon", "gpt_bigcode") else values["kv_heads"]


def _unrotated(
    model_type: str | None, layers: int | None, config: Mapping[str, Any]
) -> frozenset[int]:
    """Blocks without rotary embeddings."""
    rotated = config.get("no_rope_layers")  # 1 for a block that has them
    if isinstance(rotated, list) and rotated:
        return frozenset(number for number, on in enumerate(rotated) if not on)
    if model_type in ("llama4", "llama4_text"):
        step = config.get("no_rope_layer_interval")
        step = step if type(step) is int and step > 0 else 4
        return frozenset(range(step - 1, min(layers or 0, _MOST_LAYERS), step))
    return frozenset()


def _complete(
    model_type: str | None,
    values: Mapping[str, Any],
    flags: frozenset[str],
    source: Mapping[str, Any],
) -> Architecture:
    # Lists (one value for each layer) and invalid values are ignored.
    known = {
        name: value for name, value in values.items() if type(value) is int and 0 < value < 2**40
    }
    # Latent attention: a head has a part with and one without rotary embeddings.
    parts: list[Any] = [source.get(f"qk_{part}_head_dim") for part in ("nope", "rope")]
    if all(type(part) is int and part > 0 for part in parts):
        known.setdefault("head_dim", sum(parts))
    heads, hidden = known.get("heads"), known.get("hidden_size")
    if heads and hidden and "head_dim" not in known and hidden % heads == 0:
        known["head_dim"] = hidden // heads
    if heads and not isinstance(values.get("kv_heads"), list):
        known.setdefault("kv_heads", heads)
    unrotated = _unrotated(model_type, known.get("layers"), source)
    return Architecture(model_type=model_type, flags=flags, unrotated=unrotated, **known)
