"""Gemma 3's text models: Gemma 2 with normalized queries and keys, and two rotary embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlx_probe.lab.export.gguf.architectures.architecture import (
    Architecture,
    Config,
    Metadata,
    plain_rope,
)
from mlx_probe.lab.export.gguf.architectures.gemma import ALLOWED, DEFAULTS
from mlx_probe.lab.export.gguf.architectures.gemma2 import BLOCK, scale_fault
from mlx_probe.lab.export.gguf.architectures.qwen3 import QK_NORM
from mlx_probe.lab.export.gguf.shape import Shape

__all__ = ["GEMMA3"]

# Every so many layers one looks at all tokens.
_PERIOD = 6
_GLOBAL, _LOCAL = "full_attention", "sliding_attention"


def _rope(config: Config) -> Mapping[str, Any]:
    """The rotary embedding of the layers that look at all tokens."""
    both = config.get("rope_parameters")
    if isinstance(both, dict) and _GLOBAL in both:
        return {"rope_theta": 1e6, **(both[_GLOBAL] or {})}
    return {"rope_theta": config.get("rope_theta", 1e6), **plain_rope(config)}


def _local_theta(config: Config) -> float:
    both = config.get("rope_parameters")
    local = (both.get(_LOCAL) if isinstance(both, dict) else None) or {}
    theta: Any = local.get("rope_theta", config.get("rope_local_base_freq", 1e4))
    return float(theta)


def _metadata(config: Config, shape: Shape) -> Metadata:
    rope = _rope(config)
    said: dict[str, Any] = {
        "attention.sliding_window": int(config.get("sliding_window") or 4096),
        "rope.freq_base_swa": _local_theta(config),
    }
    if rope.get("rope_type", rope.get("type")) == "linear":
        said |= {"rope.scaling.type": "linear", "rope.scaling.factor": float(rope["factor"])}
    return said


def _fault(config: Config, shape: Shape) -> str | None:
    kinds = config.get("layer_types")
    expected = [_LOCAL if (i + 1) % _PERIOD else _GLOBAL for i in range(shape.layers)]
    if kinds not in (None, expected):
        return f"layer_types is {kinds!r}"
    return scale_fault(config, shape)


GEMMA3 = Architecture(
    "gemma3",
    BLOCK | QK_NORM,
    norms_from_one=True,
    rope=_rope,
    rope_types=("default", "linear"),
    has_windows=True,
    allowed=ALLOWED
    | {
        "tie_word_embeddings": (True,),
        "attn_logit_softcapping": (None,),
        "final_logit_softcapping": (None,),
        "sliding_window_pattern": (_PERIOD, None),
    },
    defaults=DEFAULTS | {"num_key_value_heads": 4},
    metadata=_metadata,
    fault=_fault,
)
