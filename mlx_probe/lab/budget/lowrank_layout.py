"""A model with factors on disk: what config.json says, and the classes that load it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlx_probe.core.errors import ConfigError

__all__ = ["LOWRANK", "MODEL_FILE", "copy_model_file", "lowrank_classes", "lowrank_config"]

# No family's own model_type: a program that does not know it must refuse the model, and not take
# random numbers for the weights that it misses.
LOWRANK, ARCHITECTURE = "mlx_probe_lowrank", "MlxProbeLowRankForCausalLM"
MODEL_FILE = "lowrank_model.py"


def lowrank_config(config: Mapping[str, Any], ranks: Mapping[str, int]) -> dict[str, Any]:
    """config.json of a model, as that of one with factors.

    Args:
        config: Of the model.
        ranks: By the paths of the modules that are cut.
    """
    own = {key: config[key] for key in ("model_type", "architectures") if key in config}
    changed = dict(config)
    for key in ("quantization", "quantization_config"):
        if isinstance(changed.get(key), dict):
            settings = changed[key].items()
            changed[key] = {name: value for name, value in settings if name not in ranks}
    return {
        **changed,
        "model_type": LOWRANK,
        "architectures": [ARCHITECTURE],
        "model_file": MODEL_FILE,
        "lowrank": {**own, "ranks": dict(ranks)},
    }


def copy_model_file(folder: Path) -> None:
    """Put the file that mlx-lm runs beside the weights.

    Raises:
        OSError: The disk refused.
    """
    shutil.copyfile(Path(__file__).with_name(MODEL_FILE), folder / MODEL_FILE)


def lowrank_classes(name: str, config: Mapping[str, Any]) -> tuple[type, type]:
    """What mlx-lm builds such a model with: our own file, and not the one in the folder.

    Args:
        name: Of the model, for messages.
        config: Of `lowrank_config`.

    Raises:
        ConfigError: It is incomplete.
    """
    from mlx_probe.lab.budget.lowrank_model import Model, ModelArgs

    own = config.get("lowrank")
    ranks = own.get("ranks") if isinstance(own, dict) else None
    if not isinstance(ranks, dict) or not all(type(r) is int and r > 0 for r in ranks.values()):
        raise ConfigError(
            f"{name}: config.json says of lowrank.ranks {ranks!r}, no ranks by module",
            "Write the model again with `mlx-probe budget --export`",
        )
    return Model, ModelArgs
