"""Conditions on models in one text: ``architecture=llama,larger=1GB,tag=base``."""

from __future__ import annotations

import difflib
from typing import Any

from mlx_probe.core.errors import ConfigError
from mlx_probe.core.units import parse_size
from mlx_probe.library.catalog.query import Query

__all__ = ["FIELDS", "parse_filter"]

_SIZES = ("larger", "smaller")
# What may stand before "=": options of `catalog list`.
FIELDS = ("text", "format", "architecture", "dtype", "store", "licence", "tag", *_SIZES)
_OTHER_NAMES = {"license": "licence"}


def parse_filter(text: str) -> Query:
    """The conditions of a filter.

    Args:
        text: ``field=value`` with a field of `FIELDS`, separated by commas; a value alone is
            for "text". Empty means no condition. A tag may be given several times.

    Raises:
        ConfigError: An unknown field, one given twice, or a size that is none.
    """
    found: dict[str, Any] = {}
    tags: list[str] = []
    for part in filter(None, map(str.strip, text.split(","))):
        field, equals, value = part.partition("=")
        name, value = (field.strip().lower(), value.strip()) if equals else ("text", part)
        name = _OTHER_NAMES.get(name, name)
        if name == "tag":
            tags.append(value)
            continue
        if name not in FIELDS:
            near = difflib.get_close_matches(name, FIELDS, n=1) or FIELDS
            raise ConfigError(f"models have no {name!r} to filter by", f"Use {' or '.join(near)}")
        if name in found:
            raise ConfigError(f"the filter {text!r} names {name} twice", "Leave one out")
        found[name] = _size(value) if name in _SIZES else value
    return Query(**found, tags=tuple(tags))


def _size(value: str) -> int:
    size = parse_size(value)
    if size is None:
        raise ConfigError(f"{value!r} is not a size", "Write 600MB or 1.5GiB")
    return size
