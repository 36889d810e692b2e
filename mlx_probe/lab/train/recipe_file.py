"""Recipes of training from files, for Python; the command line reads them the same way."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from mlx_probe.lab.settings import read_settings
from mlx_probe.lab.train.config import Recipe

__all__ = ["read_recipe"]


def read_recipe(path: str | os.PathLike[str] | None = None, changes: Iterable[str] = ()) -> Recipe:
    """Read what a training does, as `mlx-probe train --config FILE --set KEY=VALUE` does.

    Example::

        recipe = mlx_probe.read_recipe("configs/train/tiny.yaml", ["train.steps=200", "seed=1"])

    Args:
        path: A YAML file with the sections model, tokenizer, data, train and snapshots; None for
            the defaults.
        changes: KEY=VALUE, above the file; later ones win.

    Raises:
        ConfigError: The file cannot be read, a key is unknown, or a value has no meaning there.
    """
    return read_settings(Recipe, None if path is None else Path(path), changes)
