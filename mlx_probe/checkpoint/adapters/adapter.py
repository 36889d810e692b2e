"""What a checkpoint is if it is an adapter: its kind, layout, ranks, scale and targets."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlx_probe.checkpoint.adapters.kinds import ADAPTERS
from mlx_probe.checkpoint.adapters.names import may_begin_piece, parse
from mlx_probe.checkpoint.adapters.scaling import number, scale_of
from mlx_probe.core.errors import PackingError
from mlx_probe.core.records import TensorInfo

__all__ = ["Adapter", "read_adapter"]

# Options of PEFT's configurations that are understood, or change no merged weight. Another one of
# such a name that is set may change what the tensors mean.
_OPTION = re.compile(r"use_\w+|\w+_config")
_KNOWN_OPTIONS = frozenset(
    (
        *("use_rslora", "use_dora", "use_qalora", "use_bdlora", "use_effective_conv2d"),
        *("use_cayley_neumann", "megatron_config", "loftq_config", "eva_config", "corda_config"),
        *("lora_ga_config", "velora_config", "arrow_config", "kasa_config", "monteclora_config"),
        *("runtime_config", "model_config"),
    )
)
# Names of kohya's scripts, of LyCORIS, and of diffusers.
_OTHER_NAMES = re.compile(r"^(lora_unet|lora_te\d?|lycoris)_|lora[._](down|up)\.weight$")
_FACTORS_A = ("lora_A", "lora_a", "lora_embedding_A")


@dataclass(frozen=True)
class Adapter:
    """An adapter: a checkpoint that is added to another model.

    Attributes:
        kind: Key of `ADAPTERS`; "dora" for LoRA with DoRA's norms; for a kind that is not known
            PEFT's own name in small letters.
        layout: "peft", "mlx-lm" or "gguf": how its tensors are named and transposed.
        ranks: Ranks of its factors, ascending; usually one. Empty for kinds without factors.
        alpha: Numerator of the scale; None where the file gives the scale itself.
        scale: Factor of the product of the factors; None if it is unknown or not one.
        targets: Names of the modules that it changes, in the base model.
        base_model: Name of the base model, given by the adapter.
    """

    kind: str
    layout: str
    ranks: tuple[int, ...]
    alpha: float | None
    scale: float | None
    targets: tuple[str, ...]
    base_model: str | None

    def describe(self) -> dict[str, Any]:
        """All fields, for metadata."""
        return {
            "kind": self.kind,
            "layout": self.layout,
            "ranks": list(self.ranks),
            "alpha": self.alpha,
            "scale": self.scale,
            "targets": list(self.targets),
            "base_model": self.base_model,
        }

    def refusal(self, config: Mapping[str, Any]) -> str | None:
        """Why what it changes cannot be computed at all; None if it can.

        Args:
            config: adapter_config.json.
        """
        kind = ADAPTERS.get("lora" if self.kind == "dora" else self.kind)
        if kind is None:
            return f"a kind that is not known: PEFT calls it {self.kind.upper()}"
        unknown = [
            key
            for key, value in config.items()
            if value and _OPTION.fullmatch(key) and key not in _KNOWN_OPTIONS
        ]
        if unknown and self.layout == "peft":
            return f"adapter_config.json sets {unknown[0]}, which is not known"
        unmerged = (why for option, why in kind.unmerged if _is_set(config.get(option)))
        return next(unmerged, kind.refusal)


def read_adapter(
    tensors: Sequence[TensorInfo], config: Mapping[str, Any], framework: str = ""
) -> Adapter | None:
    """Recognise an adapter by its configuration, or by its tensors' names.

    Args:
        tensors: All stored tensors.
        config: adapter_config.json; may be empty.
        framework: Format of the file.

    Returns:
        The adapter; None for an ordinary model.
    """
    key = _kind(tensors, config)
    if key is None:
        return None
    kind = ADAPTERS.get(key)
    named = [(n, t) for t in tensors if kind is not None and (n := parse(t.name, kind))]
    # Axes are counted from the end: the factors of a mixture's experts are stacked.
    ranks = {
        tensor.shape[-1 if name.piece == "lora_a" and framework != "gguf" else -2]
        for name, tensor in named
        if name.piece in _FACTORS_A and len(tensor.shape) == 2
    }
    pieces = {name.piece for name, _ in named}
    layout = "peft"
    if "lora_a" in pieces or key == "full":
        layout = "gguf" if framework == "gguf" else "mlx-lm"
    if key == "lora" and pieces & {"lora_magnitude_vector", "m"}:
        key = "dora"
    alpha, scale = _scale(config, ranks)
    base = config.get("base_model_name_or_path") or config.get("model")
    return Adapter(
        kind=key,
        layout=layout,
        ranks=tuple(sorted(ranks)),
        alpha=alpha,
        scale=scale,
        targets=tuple(dict.fromkeys(name.module for name, _ in named if name.module)),
        base_model=base if isinstance(base, str) else None,
    )


def _is_set(value: Any) -> bool:
    """Whether an option is set: an empty object is, and an empty list is not."""
    return value is not None and value is not False and value != []


def _kind(tensors: Sequence[TensorInfo], config: Mapping[str, Any]) -> str | None:
    declared = config.get("peft_type")
    if isinstance(declared, str):
        known = (key for key, kind in ADAPTERS.items() if declared.upper() in kind.peft_types)
        return next(known, declared.lower())
    if any(_OTHER_NAMES.search(tensor.name) for tensor in tensors):
        return "kohya"
    segments = {segment for tensor in tensors for segment in tensor.name.split(".")}
    for key, kind in ADAPTERS.items():
        if not kind.pieces or not may_begin_piece(segments, kind):
            continue
        for tensor in tensors:
            named = parse(tensor.name, kind)
            # A vector alone is no factor.
            enough = len(tensor.shape) >= 2 or key != "lora"
            if named is not None and named.piece in kind.pieces and enough:
                return key
    return "full" if config.get("fine_tune_type") == "full" else None


def _scale(config: Mapping[str, Any], ranks: set[int]) -> tuple[float | None, float | None]:
    """Alpha, and the scale of all modules whose name has no pattern of its own."""
    parameters = config.get("lora_parameters")
    if isinstance(parameters, Mapping) and "scale" in parameters:
        return None, number(parameters["scale"])
    alpha = number(config.get("lora_alpha"))
    rank = number(config.get("r")) or (float(*ranks) if len(ranks) == 1 else None)
    try:
        return alpha, scale_of({**config, "alpha_pattern": None}, "", rank, "lora_alpha")
    except PackingError:
        return alpha, None
