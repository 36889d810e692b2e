"""Tables of the keys of recipes, from the dataclasses that read them, in the reader's language."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from inspect import getdoc
from typing import Any

from mlx_probe.core.language import tr
from mlx_probe.core.markdown import table
from mlx_probe.core.messages import translated
from mlx_probe.lab.moe.train.config import MixtureRecipe
from mlx_probe.lab.settings import settings_to_dict
from mlx_probe.lab.train.config import Recipe
from mlx_probe.lab.tune.config import TuneRecipe

__all__ = ["RECIPE_TABLES", "key_meanings"]

# A line of an Attributes section: "    name: The beginning of what it means".
_KEY = re.compile(r"^    (\w+): (.*)$")


def key_meanings(kind: type) -> dict[str, str]:
    """What each key of a section means, by its name, from the section's docstring.

    Args:
        kind: A dataclass whose docstring has an Attributes section.
    """
    _, _, text = (getdoc(kind) or "").partition("\nAttributes:\n")
    meanings: dict[str, str] = {}
    for line in text.split("\n\n")[0].splitlines():
        if key := _KEY.match(line):
            name = key[1]
            meanings[name] = key[2]
        else:
            meanings[name] += f" {line.strip()}"
    return meanings


def _section(recipe: Any, name: str) -> str:
    section = getattr(recipe, name)
    meanings: dict[str, str] = {}
    for kind in reversed(type(section).__mro__):
        # A section may have keys of another one, with a meaning of its own.
        meanings |= key_meanings(kind) if is_dataclass(kind) else {}
    defaults: Mapping[str, Any] = settings_to_dict(recipe)[name]
    rows = [
        (
            f"`{name}.{field.name}`",
            f"`{_text(defaults[field.name])}`",
            # A bar in a formula ends no cell.
            translated(meanings[field.name]).replace("|", "\\|"),
        )
        for field in fields(section)
    ]
    return table((tr("key"), tr("default"), tr("meaning")), rows)


def _text(value: Any) -> str:
    """A default as a file of YAML has it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(str, value))}]"
    return str(value) or '""'


# Markdown of each table, by the name in its markers: RECIPE_MODEL, RECIPE_TRAIN, TUNING_DATA ...
RECIPE_TABLES: Mapping[str, Callable[[], str]] = {
    f"{prefix}_{field.name.upper()}": partial(_section, recipe, field.name)
    for prefix, recipe in (
        ("RECIPE", Recipe()),
        ("TUNING", TuneRecipe()),
        ("MIXTURE", MixtureRecipe()),
    )
    for field in fields(recipe)
}
