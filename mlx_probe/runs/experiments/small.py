"""Runs of commands that are no job: what `SmallRun` wrote. Also of prepared function calls."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from mlx_probe.runs.experiments.records import Input, Value
from mlx_probe.runs.experiments.values import flat, input_of, mapping, numbers, text

__all__ = ["counts", "files", "inputs", "metrics", "settings", "written"]

_Meta = Mapping[str, Any]


def metrics(meta: _Meta) -> dict[str, float]:
    """The results."""
    return numbers(mapping(meta.get("metrics")))


def inputs(folder: Path, meta: _Meta) -> tuple[Input, ...]:
    """As they were written."""
    listed = meta.get("inputs")
    found = []
    for each in listed if isinstance(listed, list) else ():
        known = mapping(each)
        role, name = text(known.get("role")), text(known.get("name"))
        if role and name:
            facts = (text(known.get(key)) for key in ("revision", "path", "sha256"))
            found.append(Input(role, name, *facts))
    return tuple(found)


def written(folder: Path, meta: _Meta) -> tuple[str, ...]:
    """The checkpoints: the folder itself, or files in it."""
    listed = meta.get("written")
    found = []
    for name in listed if isinstance(listed, list) else ():
        if isinstance(name, str) and "\0" not in name and _is_inside(name):
            found.append(os.path.normpath(folder / name))
    return tuple(found)


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts


def settings(meta: _Meta) -> dict[str, Value]:
    """Of prepared function calls."""
    return flat(mapping(meta.get("settings")))


def counts(meta: _Meta) -> dict[str, float]:
    """Of prepared function calls: everything that is a number."""
    known = ("kind", "version", "settings", "files", "outputs")
    return numbers({key: value for key, value in meta.items() if key not in known})


def files(folder: Path, meta: _Meta) -> tuple[Input, ...]:
    """Of prepared function calls: the files that they were read from."""
    listed = meta.get("files")
    return tuple(
        found
        for each in (listed if isinstance(listed, list) else ())
        for found in input_of("data", mapping(each).get("source"), sha256=_hash(each))
    )


def _hash(each: object) -> str:
    return text(mapping(each).get("sha256"))
