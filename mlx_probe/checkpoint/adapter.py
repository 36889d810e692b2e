"""Low-rank adapters: LoRA and DoRA as PEFT and mlx-lm store them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlx_probe.core.records import TensorInfo

__all__ = ["PEFT_PREFIX", "Adapter", "read_adapter"]

# In memory PEFT inserts the adapter's name (lora_A.default.weight).
_PEFT = re.compile(r"(?P<module>.+)\.lora_(?P<side>embedding_)?A(\.\w+)?(\.weight)?")
_MLX = re.compile(r"(?P<module>.+)\.lora_a")
# PEFT's prefix to the base model's names.
PEFT_PREFIX = "base_model.model."


@dataclass(frozen=True)
class Adapter:
    """An adapter: a checkpoint that is added to another model.

    Attributes:
        kind: "lora" or "dora".
        layout: "peft" or "mlx-lm": how its factors are named and whether they are transposed.
        ranks: Ranks of its factors, ascending; usually one.
        alpha: Numerator of the scale; None where the file gives the scale itself.
        scale: Factor of the product of the factors; None if it is unknown.
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


def read_adapter(tensors: Sequence[TensorInfo], config: Mapping[str, Any]) -> Adapter | None:
    """Recognise an adapter by its tensors' names.

    Args:
        tensors: All stored tensors.
        config: adapter_config.json; may be empty.

    Returns:
        The adapter; None for an ordinary model.

    Source: Hu et al. 2021 (arXiv 2106.09685); Kalajdzievski 2023 (arXiv 2312.03732) for the
    scale alpha / sqrt(rank) of ``use_rslora``; Liu et al. 2024 (arXiv 2402.09353) for DoRA.
    """
    layout, axis, factors = "peft", -2, _matches(tensors, _PEFT)
    if not factors:
        layout, axis, factors = "mlx-lm", -1, _matches(tensors, _MLX)
    if not factors:
        return None
    # Axes are counted from the end: the factors of a mixture's experts are stacked.
    ranks = {tensor.shape[axis] for _, tensor in factors}
    targets = tuple(
        dict.fromkeys(match["module"].removeprefix(PEFT_PREFIX) for match, _ in factors)
    )
    names = [tensor.name for tensor in tensors]
    modules = {match["module"] for match, _ in factors}
    magnitudes = any(".lora_magnitude_vector" in name for name in names) or any(
        name.endswith(".m") and name[:-2] in modules for name in names
    )
    alpha, scale = _scale(config, ranks)
    base = config.get("base_model_name_or_path") or config.get("model")
    return Adapter(
        kind="dora" if magnitudes else "lora",
        layout=layout,
        ranks=tuple(sorted(ranks)),
        alpha=alpha,
        scale=scale,
        targets=targets,
        base_model=base if isinstance(base, str) else None,
    )


def _matches(
    tensors: Sequence[TensorInfo], pattern: re.Pattern[str]
) -> list[tuple[re.Match[str], TensorInfo]]:
    matches = ((pattern.fullmatch(tensor.name), tensor) for tensor in tensors)
    return [(match, tensor) for match, tensor in matches if match and len(tensor.shape) >= 2]


def _scale(config: Mapping[str, Any], ranks: set[int]) -> tuple[float | None, float | None]:
    parameters = config.get("lora_parameters")
    if isinstance(parameters, Mapping) and "scale" in parameters:
        return None, _number(parameters["scale"])
    alpha = _number(config.get("lora_alpha"))
    rank = _number(config.get("r")) or (ranks.copy().pop() if len(ranks) == 1 else None)
    if alpha is None or not rank:
        return alpha, None
    return alpha, alpha / (math.sqrt(rank) if config.get("use_rslora") is True else rank)


def _number(value: Any) -> float | None:
    return float(value) if type(value) in (int, float) and math.isfinite(value) else None
