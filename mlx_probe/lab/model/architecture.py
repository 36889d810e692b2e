"""config.json of `llama` and `qwen3`, as transformers, mlx-lm and llama.cpp's converter read it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlx_probe.core.errors import CheckpointError, ConfigError, damaged, unreadable
from mlx_probe.lab.model.config import ModelConfig

__all__ = ["config_to_json", "read_config"]

# By whether queries and keys are normalized.
ARCHITECTURES = {False: ("llama", "LlamaForCausalLM"), True: ("qwen3", "Qwen3ForCausalLM")}

# Keys of config.json for the fields of ModelConfig that are stored as they are.
KEYS = {
    "dim": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads",
    "hidden": "intermediate_size",
    "vocabulary": "vocab_size",
    "context": "max_position_embeddings",
    "norm_epsilon": "rms_norm_eps",
    "tied_embeddings": "tie_word_embeddings",
}
# What MiniLLM does not have, by the key of config.json, with the values that mean it is absent.
ABSENT: dict[str, tuple[Any, ...]] = {
    "hidden_act": ("silu", "swish"),
    "attention_bias": (False, None),
    "mlp_bias": (False, None),
    "use_sliding_window": (False, None),
    "quantization_config": (None,),
    "quantization": (None,),
}
# transformers' values for keys that a config.json of these architectures may leave out.
DEFAULTS = {"rms_norm_eps": 1e-6, "tie_word_embeddings": False}
THETA = 10_000.0


def config_to_json(
    config: ModelConfig, dtype: str, special: Mapping[str, int] | None = None
) -> dict[str, Any]:
    """The content of config.json.

    Args:
        config: The shape of the model.
        dtype: Numbers of the stored weights.
        special: `bos_token_id` and `eos_token_id`, where the tokenizer has them.
    """
    model_type, architecture = ARCHITECTURES[config.qk_norm]
    return {
        "architectures": [architecture],
        "model_type": model_type,
        **{key: getattr(config, name) for name, key in KEYS.items()},
        "head_dim": config.head_dim,
        "hidden_act": "silu",
        "attention_bias": False,
        **({} if config.qk_norm else {"mlp_bias": False}),
        "attention_dropout": 0.0,
        "initializer_range": 0.02,
        # transformers 5 reads the second, mlx-lm and older versions the first.
        "rope_theta": config.rope_theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},
        # Explicit nulls: LlamaConfig takes 1 and 2 for what is left out.
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": None,
        **(special or {}),
        "use_cache": True,
        "dtype": dtype,
        "torch_dtype": dtype,
    }


def read_config(folder: Path) -> ModelConfig:
    """The shape of a model, from its config.json.

    Raises:
        CheckpointError: There is none, or MiniLLM is not that model.
    """
    path = folder / "config.json"
    try:
        stored = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise unreadable(path, error) from error
    except ValueError as error:
        raise damaged(path, f"it is no JSON: {error}") from error
    if not isinstance(stored, dict):
        raise damaged(path, "it is no JSON object")
    kinds = {name: qk_norm for qk_norm, (name, _) in ARCHITECTURES.items()}
    model_type = stored.get("model_type")
    if model_type not in kinds:
        raise _other(path, f"model_type is {model_type!r}")
    for key, allowed in ABSENT.items():
        if stored.get(key, allowed[0]) not in allowed:
            raise _other(path, f"{key} is {stored[key]!r}")
    rope = stored.get("rope_parameters") or stored.get("rope_scaling") or {}
    if not isinstance(rope, dict):
        raise damaged(path, f"rope_parameters is {rope!r}")
    if rope.get("rope_type", rope.get("type", "default")) != "default":
        raise _other(path, f"rope_type is {rope.get('rope_type', rope.get('type'))!r}")
    values: dict[str, Any] = {
        name: stored.get(key, DEFAULTS.get(key)) for name, key in KEYS.items()
    }
    values["kv_heads"] = values["kv_heads"] or values["heads"]
    for name, value in values.items():
        if value is None:
            raise damaged(path, f"{KEYS[name]} is missing")
    theta: Any = rope.get("rope_theta", stored.get("rope_theta", THETA))
    try:
        config = ModelConfig(**values, rope_theta=theta, qk_norm=kinds[model_type])
    except (ConfigError, TypeError) as error:
        fact = error.fact if isinstance(error, ConfigError) else str(error)
        raise damaged(path, fact) from error
    # Qwen3Config takes 128 for what is left out, LlamaConfig a head's share.
    width = stored.get("head_dim") or (128 if config.qk_norm else config.head_dim)
    if width != config.head_dim:
        raise _other(path, f"head_dim is {width}, not hidden_size / heads = {config.head_dim}")
    return config


def _other(path: Path, fact: str) -> CheckpointError:
    return CheckpointError(
        f"{path}: {fact}: MiniLLM is not that model",
        "Give a plain llama or qwen3 model, such as one that `mlx-probe train` wrote",
    )
