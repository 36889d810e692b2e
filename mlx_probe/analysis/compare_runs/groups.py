"""Which rows of a run are comparable with which of another model: by part of the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.analysis.compare_runs.records import Group
from mlx_probe.analysis.kinds import KIND_COLUMNS, kind_labels
from mlx_probe.checkpoint.naming.rules import TOWERS

__all__ = [
    "BY",
    "GROUP_COLUMNS",
    "WHOLE",
    "Grouping",
    "block_types",
    "groupings",
    "layer_counts",
    "whole_matrices",
]

# What tensors may be grouped by: all matrices of the layers together, attention, mlp ..., or
# q_proj, down_proj ...
BY = ("all", "component", "block_type")
WHOLE = Group("all", "layers")
# Columns that the functions here look at.
GROUP_COLUMNS = (*KIND_COLUMNS, "layer_index", "expert_index", "alias_of")

Columns = Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class Grouping:
    """The rows of a run by one of `BY`.

    Attributes:
        groups: In the order of first occurrence.
        codes: Position in ``groups`` for each row, -1 for rows in none; shape (rows,).
    """

    groups: tuple[Group, ...]
    codes: NDArray[np.int64]


def groupings(columns: Columns, by: Sequence[str]) -> list[Grouping]:
    """The groups of a run's rows.

    A fused matrix is represented by its parts, so that it is aligned with models that keep them
    apart. In "all" and in a component only matrices are counted where there are any: a median
    over weights and biases belongs to neither.

    Args:
        columns: `GROUP_COLUMNS` of the run; None for null.
        by: Keys of `BY`.
    """
    matrix = _matrices(columns)
    logical = ~_fused(columns)
    found = []
    if "all" in by:
        own = logical & matrix & ~_towers(columns)
        found.append(Grouping((WHOLE,), np.where(own, 0, -1)))
    if "component" in by:
        names, codes = _numbered(columns["component"])
        with_matrices = np.isin(codes, codes[matrix & logical])
        own = logical & (matrix | ~with_matrices)
        found.append(_grouping("component", names, np.where(own, codes, -1)))
    if "block_type" in by:
        labels = kind_labels({name: columns[name] for name in KIND_COLUMNS if name in columns})
        names, codes = _numbered([label.removesuffix(" (part)") for label in labels])
        found.append(_grouping("block_type", names, np.where(logical, codes, -1)))
    return found


def whole_matrices(columns: Columns) -> NDArray[np.bool_]:
    """Rows over which the number of a whole run is taken: each matrix once.

    Args:
        columns: As of `groupings`.
    """
    matrix = _matrices(columns)
    copy = np.array([alias is not None for alias in columns["alias_of"]], bool)
    whole: NDArray[np.bool_] = matrix & ~copy & ~_fused(columns)
    return whole


def layer_counts(columns: Columns, declared: int) -> NDArray[np.int64]:
    """Layers of the stack that each row is in.

    Args:
        columns: As of `groupings`.
        declared: Layers of the model by its configuration; 0 if unknown. A run may have left
            the last ones out.

    Returns:
        Shape (rows,). Towers (vision ...) have layers of their own, as many as are seen.
    """
    layers = np.array([-1 if layer is None else layer for layer in columns["layer_index"]], int)
    counts = np.zeros(len(layers), np.int64)
    components = np.array(columns["component"], dtype=object)
    towers = _towers(columns)
    stacks = [(~towers, declared), *((components == tower, 0) for tower in TOWERS)]
    for own, least in stacks:
        if own.any():
            counts[own] = max(int(layers[own].max()) + 1, least)
    return counts


def block_types(columns: Columns) -> frozenset[str]:
    """The block types of a run; what is not known ("other") is nothing that two have in common."""
    return frozenset(name for name in columns["block_type"] if name not in (None, "other"))


def _matrices(columns: Columns) -> NDArray[np.bool_]:
    """Rows of weights with two dimensions; a buffer, such as position_ids, is no weight."""
    shapes = zip(columns["rows"], columns["block_type"], strict=True)
    return np.array([rows is not None and kind != "buffer" for rows, kind in shapes], bool)


def _towers(columns: Columns) -> NDArray[np.bool_]:
    return np.array([component in TOWERS for component in columns["component"]], bool)


def _fused(columns: Columns) -> NDArray[np.bool_]:
    """Rows of fused matrices whose parts have rows of their own."""
    parts = columns["part"]
    names = list(zip(columns["param_name"], columns["expert_index"], strict=True))
    split = {name for name, part in zip(names, parts, strict=True) if part is not None}
    return np.array(
        [part is None and name in split for name, part in zip(names, parts, strict=True)], bool
    )


def _numbered(labels: Sequence[Any]) -> tuple[list[str], NDArray[np.int64]]:
    """The labels in the order of first occurrence, and the number of each row's."""
    known = [str(label or "other") for label in labels]
    names = {name: number for number, name in enumerate(dict.fromkeys(known))}
    return list(names), np.array([names[label] for label in known], np.int64)


def _grouping(by: str, names: Sequence[str], codes: NDArray[np.int64]) -> Grouping:
    return Grouping(tuple(Group(by, name) for name in names), codes)
