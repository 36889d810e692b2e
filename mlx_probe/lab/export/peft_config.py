"""adapter_config.json of a LoRA, as PEFT reads it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["peft_config"]

_LAYER = re.compile(r"(?P<before>.*\.)(?P<layer>\d+)\.(?P<module>.+)")


def peft_config(
    ranks: Mapping[str, int],
    scale: float,
    base: str | None,
    *,
    dora: bool = False,
    dropout: float = 0.0,
    task: str | None = "CAUSAL_LM",
    fan_in_fan_out: bool = False,
    modules_to_save: Sequence[str] | None = None,
) -> dict[str, Any]:
    """The configuration of a LoRA.

    Args:
        ranks: Rank by the module's name; at least one.
        scale: What the product of the factors is multiplied by, the same for all modules.
        base: Reference of the base model.
        dora: Whether it has DoRA's norms.
        dropout: Probability in training.
        task: PEFT's name of what the model is for; None for none.
        fan_in_fan_out: Whether the modules hold their weights as (in, out).
        modules_to_save: Modules that are stored as a whole.
    """
    [(rank, _)] = Counter(ranks.values()).most_common(1)
    other = {name: each for name, each in ranks.items() if each != rank}
    return {
        "peft_type": "LORA",
        "task_type": task,
        "base_model_name_or_path": base,
        "inference_mode": True,
        "r": rank,
        # PEFT divides by the rank; with the root of it where `use_rslora` is set.
        "lora_alpha": scale * rank,
        "use_rslora": False,
        "use_dora": dora,
        "lora_dropout": dropout,
        "bias": "none",
        "fan_in_fan_out": fan_in_fan_out,
        "init_lora_weights": True,
        "modules_to_save": list(modules_to_save) if modules_to_save else None,
        "rank_pattern": other,
        "alpha_pattern": {name: scale * each for name, each in other.items()},
        **_targets(list(ranks)),
    }


def _targets(names: Sequence[str]) -> dict[str, Any]:
    """The modules by the end of their names and the layers, if all layers have the same ones."""
    found = [_LAYER.fullmatch(name) for name in names]
    matched = [match for match in found if match is not None]
    modules = {match["module"] for match in matched}
    layers = sorted({int(match["layer"]) for match in matched})
    befores = {match["before"] for match in matched}
    if len(matched) == len(names) == len(modules) * len(layers) and len(befores) == 1:
        pattern = befores.pop().strip(".").rpartition(".")[2]
        return {
            "target_modules": sorted(modules),
            "layers_to_transform": layers,
            "layers_pattern": pattern,
        }
    return {"target_modules": sorted(names), "layers_to_transform": None, "layers_pattern": None}
