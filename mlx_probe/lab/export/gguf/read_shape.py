"""The shape of a model, from its config.json."""

from __future__ import annotations

from collections.abc import Mapping
from math import pi
from pathlib import Path
from typing import Any

from mlx_probe.core.errors import CheckpointError, damaged
from mlx_probe.lab.export.gguf.architectures import ARCHITECTURES, Architecture
from mlx_probe.lab.export.gguf.shape import Shape
from mlx_probe.lab.model.architecture import ABSENT, DEFAULTS, KEYS, THETA

__all__ = ["read_shape"]

# Packed weights are unpacked while they are read.
_PACKED = ("quantization_config", "quantization")
# Of mixtures.
_EXPERT_KEYS = {"experts": "num_experts", "expert_hidden": "moe_intermediate_size"}
# transformers 5 writes the second name of each.
_OTHER_NAMES = {"num_experts": "num_local_experts"}
_COUNTS = ("dim", "layers", "heads", "kv_heads", "hidden", "vocabulary", "context")


def read_shape(path: Path, config: Mapping[str, Any]) -> Shape:
    """The shape of a model.

    Args:
        path: config.json, for messages.
        config: Its content.

    Raises:
        CheckpointError: The model is of another architecture, has something that the file
            cannot say, or config.json is damaged.
    """
    model_type = config.get("model_type")
    if model_type not in ARCHITECTURES:
        *known, last = ARCHITECTURES
        raise CheckpointError(
            f"{path}: model_type is {model_type!r}, which is not exported to GGUF",
            f"Give {', '.join(known)} or {last}; convert_hf_to_gguf.py of llama.cpp knows others",
        )
    architecture = ARCHITECTURES[str(model_type)]
    _refuse_settings(path, config, architecture)
    rope = _rope(path, config, architecture)
    values = _counts(path, config, architecture)
    head = config.get("head_dim") or architecture.defaults.get("head_dim")
    values["head_dim"] = head or values["dim"] // values["heads"]
    values["rope_theta"] = rope.get("rope_theta", config.get("rope_theta", THETA))
    for name in ("norm_epsilon", "rope_theta", "head_dim"):
        if not isinstance(values[name], int | float) or not values[name] > 0:
            raise damaged(path, f"{KEYS.get(name, name)} is {values[name]!r}, not above 0")
    values["rotary"] = _rotary(path, config, rope, values["head_dim"], architecture)
    if rope.get("rope_type", rope.get("type")) == "llama3":
        values["rope_factors"] = _factors(path, rope, values["rotary"], values["rope_theta"])
    shape = Shape(model_type=str(model_type), **values)
    if fault := architecture.fault(config, shape):
        raise _unsaid(path, fault)
    return shape


def _refuse_settings(path: Path, config: Mapping[str, Any], architecture: Architecture) -> None:
    """Values that make it another model than the one that llama.cpp would run."""
    for key, allowed in {**ABSENT, **architecture.allowed}.items():
        value = config.get(key, architecture.defaults.get(key, allowed[0]))
        if key not in _PACKED and value not in allowed:
            raise _unsaid(path, f"{key} is {value!r}")
    kinds = config.get("layer_types") or ()
    if not architecture.has_windows and any(kind != "full_attention" for kind in kinds):
        raise _unsaid(path, f"layer_types is {kinds!r}")


def _rope(path: Path, config: Mapping[str, Any], architecture: Architecture) -> Mapping[str, Any]:
    rope = architecture.rope(config)
    if not isinstance(rope, dict):
        raise damaged(path, f"rope_parameters is {rope!r}")
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind not in architecture.rope_types:
        raise _unsaid(path, f"rope_type is {kind!r}")
    return rope


def _factors(path: Path, rope: Mapping[str, Any], rotary: int, theta: float) -> tuple[float, ...]:
    """What the wavelengths are multiplied with (Llama 3.1's model card).

    Wavelengths of which the old context holds ``high_freq_factor`` or more stay, those of which
    it holds ``low_freq_factor`` or fewer grow by ``factor``, with a smooth step in between.
    """
    keys = ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")
    numbers = [rope.get(key) for key in keys]
    if not all(isinstance(number, int | float) and number > 0 for number in numbers):
        raise damaged(path, f"rope_parameters is {dict(rope)!r}")
    factor, low, high, context = (float(number) for number in numbers if number is not None)
    factors = []
    for i in range(0, rotary, 2):
        turns = context / (2 * pi * theta ** (i / rotary))
        if turns > high:
            factors.append(1.0)
        elif turns < low:
            factors.append(factor)
        else:
            smooth = (turns - low) / (high - low)
            factors.append(1 / ((1 - smooth) / factor + smooth))
    return tuple(factors)


def _counts(path: Path, config: Mapping[str, Any], architecture: Architecture) -> dict[str, Any]:
    defaults = {**DEFAULTS, **architecture.defaults}
    values = {name: config.get(key, defaults.get(key)) for name, key in KEYS.items()}
    values["kv_heads"] = values["kv_heads"] or values["heads"]
    names = list(_COUNTS)
    if "num_experts" in defaults:
        for name, key in _EXPERT_KEYS.items():
            values[name] = config.get(key, config.get(_OTHER_NAMES.get(key, key), defaults[key]))
        names += _EXPERT_KEYS
    for name in names:
        if type(values[name]) is not int or values[name] < 1:
            key = KEYS.get(name) or _EXPERT_KEYS[name]
            raise damaged(path, f"{key} is {values[name]!r}, not a count")
    return values


def _rotary(
    path: Path,
    config: Mapping[str, Any],
    rope: Mapping[str, Any],
    head_dim: int,
    architecture: Architecture,
) -> int:
    """Coordinates of a head that are turned."""
    share = rope.get("partial_rotary_factor", config.get("partial_rotary_factor", 1))
    share = 1 if share is None else share
    good = isinstance(share, int | float) and 0 < share <= 1
    if not good or (share != 1 and not architecture.rotates_part):
        raise _unsaid(path, f"partial_rotary_factor is {share!r}")
    rotary = int(head_dim * share)
    if head_dim % 2 or rotary % 2:
        raise damaged(path, f"head_dim is {head_dim}, and rotary embeddings turn pairs")
    return rotary


def _unsaid(path: Path, fact: str) -> CheckpointError:
    return CheckpointError(
        f"{path}: {fact}, which the export to GGUF does not know",
        "Convert it with convert_hf_to_gguf.py of llama.cpp",
    )
