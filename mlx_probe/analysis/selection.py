"""Selection of weights by name."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from fnmatch import fnmatchcase

from mlx_probe.checkpoint import Weight
from mlx_probe.core.errors import ConfigError

__all__ = ["select_weights"]


def select_weights(
    weights: Sequence[Weight], include: Sequence[str], exclude: Sequence[str]
) -> tuple[Weight, ...]:
    """The weights whose names match a glob of ``include`` (all, if empty) and none of ``exclude``.

    Raises:
        ConfigError: None is left.
    """

    def wanted(name: str) -> bool:
        chosen = not include or any(fnmatchcase(name, glob) for glob in include)
        return chosen and not any(fnmatchcase(name, glob) for glob in exclude)

    selected = tuple(weight for weight in weights if wanted(weight.name))
    if not selected:
        names = list(dict.fromkeys(weight.name for weight in weights))
        if not names:
            raise ConfigError("the checkpoint holds no tensor", "Choose another")
        # Close to a whole name, or to a part of one between two dots.
        parts = dict.fromkeys(part for name in names for part in name.split("."))
        wanted_text = next(iter(include), "").strip("*")
        near = difflib.get_close_matches(wanted_text, [*names, *parts], n=1)
        raise ConfigError(
            f"no tensor is selected out of {len(names)}",
            f"Name tensors such as {(near or names)[0]!r}; `mlx-probe inspect` lists them",
        )
    return selected
