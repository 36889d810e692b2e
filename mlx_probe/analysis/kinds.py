"""Kinds of tensors: those that may be counted, drawn and judged together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mlx_probe.checkpoint.naming.rules import TOWERS

__all__ = ["KIND_COLUMNS", "kind_labels"]

# Columns that `kind_labels` looks at; tables of older runs lack some.
KIND_COLUMNS = ("block_type", "param_name", "other_name", "rows", "part", "component")


def kind_labels(columns: Mapping[str, Sequence[Any]]) -> list[str]:
    """The kind of each row of a table: its block type, and what sets it apart within that.

    The block type of a bias is that of its weight, and a fused matrix has a row beside those of
    its parts. A median over both would belong to neither.

    Args:
        columns: `KIND_COLUMNS`, "block_type" at least; None for null.

    Returns:
        A label for each row: "q_proj", "q_proj bias", "q_proj vector" (one that is no bias,
        where others are matrices), "q_proj (part)", "vision q_proj" (where the language model
        has that block type as well).
    """
    block_types = [block_type or "other" for block_type in columns["block_type"]]
    nothing = [None] * len(block_types)
    names, others, rows, parts, components = (
        columns.get(name, nothing) for name in KIND_COLUMNS[1:]
    )
    with_matrices = {
        block_type for block_type, count in zip(block_types, rows, strict=True) if count is not None
    }
    outside = {
        block_type
        for block_type, component in zip(block_types, components, strict=True)
        if component not in TOWERS
    }
    labels = []
    for block_type, count, part, component, name, other in zip(
        block_types, rows, parts, components, names, others, strict=True
    ):
        label = block_type
        if component in TOWERS and block_type in outside:
            label = f"{component} {label}"
        if str(name or other or "").endswith("bias"):
            label += " bias"
        elif count is None and block_type in with_matrices:
            label += " vector"
        labels.append(f"{label} (part)" if part else label)
    return labels
