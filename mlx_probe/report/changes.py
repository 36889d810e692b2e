"""What changed most between two models, from the rows of a comparison: kinds, tensors, layers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from mlx_probe.analysis.kinds import KIND_COLUMNS, kind_labels
from mlx_probe.core.counts import rows_text
from mlx_probe.core.dtypes import DTYPES
from mlx_probe.core.language import tr
from mlx_probe.core.lists import enumerated

__all__ = [
    "FIGURES",
    "MOST",
    "ChangedKind",
    "ChangedLayer",
    "changed_kinds",
    "changed_layers",
    "figure_text",
    "largest_changes",
    "tensor_label",
    "total_lines",
]

Rows = Sequence[Mapping[str, Any]]

# Columns that say how a tensor changed, and how they are written.
FIGURES: Mapping[str, str] = {
    "relative_change": ".4g",
    "cosine": ".6f",
    "delta_rank": ".0f",
    "delta_energy_rank_90": ".0f",
    "delta_effective_rank": ".1f",
    "left_overlap": ".3f",
    "right_overlap": ".3f",
    "intruder_count": ".0f",
}
# Lines of each list; the table holds the rest.
MOST = 10


@dataclass(frozen=True)
class ChangedKind:
    """The changed tensors of one kind.

    Attributes:
        kind: As `kind_labels` names it.
        changed: How many there are.
        medians: Of each of `FIGURES`; None where no tensor has it.
    """

    kind: str
    changed: int
    medians: Mapping[str, float | None]


@dataclass(frozen=True)
class ChangedLayer:
    """The compared tensors of one layer together.

    Attributes:
        layer: Its number; None for what is outside the layers.
        changed: Tensors that changed.
        compared: All of them.
        relative_change: Norm of all their changes over the norm of all their weights.
    """

    layer: int | None
    changed: int
    compared: int
    relative_change: float

    @property
    def name(self) -> str:
        """The layer in words."""
        return tr("outside the blocks") if self.layer is None else str(self.layer)


def total_lines(rows: Rows) -> list[str]:
    """How many rows have which status, and how much changed at all."""
    statuses = Counter(row["status"] for row in rows)
    counts = enumerated(f"{n} {status}" for status, n in statuses.items())
    lines = [tr("{rows} ({statuses})", rows=rows_text(len(rows)), statuses=counts)]
    known = _known(rows)
    count = sum(row["numel"] for row in known)
    if not count:
        return lines
    touched = sum(row["numel"] for row in known if row["status"] == "ok")
    before = math.hypot(*(row["norm"] for row in known))
    change = math.hypot(*(row["change_norm"] for row in known))
    relative = f"{change / before:.4g}" if before else "-"
    lines.append(
        tr(
            "{share} of {count} compared parameters are in changed tensors; "
            "relative change of them all {change}",
            share=f"{touched / count:.1%}",
            count=f"{count:,}",
            change=relative,
        )
    )
    return lines


def changed_kinds(rows: Rows) -> list[ChangedKind]:
    """Medians over the changed tensors of each kind, in the order of the rows."""
    members: dict[str, list[Mapping[str, Any]]] = {}
    kinds = kind_labels({name: [row.get(name) for row in rows] for name in KIND_COLUMNS})
    for kind, row in zip(kinds, rows, strict=True):
        if _is_changed(row):
            members.setdefault(kind, []).append(row)
    return [
        ChangedKind(kind, len(of), {name: _middle(of, name) for name in FIGURES})
        for kind, of in members.items()
    ]


def largest_changes(rows: Rows) -> Rows:
    """The rows of the largest relative change, at most `MOST`."""
    return sorted(filter(_is_changed, rows), key=lambda row: -row["relative_change"])[:MOST]


def changed_layers(rows: Rows) -> list[ChangedLayer]:
    """The layers that changed most, at most `MOST`."""
    members: dict[int | None, list[Mapping[str, Any]]] = {}
    for row in _known(rows):
        members.setdefault(row["layer_index"], []).append(row)
    layers = [
        ChangedLayer(layer, sum(row["status"] == "ok" for row in of), len(of), _together(of))
        for layer, of in members.items()
    ]
    ordered = sorted(layers, key=lambda layer: -layer.relative_change)
    return [layer for layer in ordered[:MOST] if layer.changed]


def figure_text(value: float | None, column: str) -> str:
    """A number of one of `FIGURES` as text; a dash for none."""
    return "-" if value is None else format(value, FIGURES[column])


def tensor_label(row: Mapping[str, Any]) -> str:
    """The name of a row's tensor, with expert and part."""
    expert = "" if row["expert_index"] is None else f"[{row['expert_index']}]"
    part = f" ({row['part']})" if row["part"] else ""
    return f"{row['param_name'] or row['other_name']}{expert}{part}"


def _middle(rows: Rows, column: str) -> float | None:
    # Tables of older versions may lack a column.
    values = [row[column] for row in rows if row.get(column) is not None]
    return median(values) if values else None


def _together(rows: Rows) -> float:
    before = math.hypot(*(row["norm"] for row in rows))
    change = math.hypot(*(row["change_norm"] for row in rows))
    return change / before if before else (math.inf if change else 0.0)


def _is_changed(row: Mapping[str, Any]) -> bool:
    return bool(row["status"] == "ok" and row["relative_change"])


def _known(rows: Rows) -> Rows:
    """Rows with a change, without parts of fused matrices: these have their elements already.

    Nor integers that are no packed weights: position numbers, whose norm is above that of all
    weights.
    """
    return [
        row
        for row in rows
        if row["status"] in ("ok", "identical")
        and row["part"] is None
        and not _is_buffer(row)
        and row["norm"] is not None
        and row["change_norm"] is not None
    ]


def _is_buffer(row: Mapping[str, Any]) -> bool:
    """Whether the tensor of a row is plain integers."""
    dtype = DTYPES.get(row["dtype"] or row["other_dtype"])
    packing = row["packing"] or row["other_packing"]
    return dtype is not None and dtype.kind != "float" and packing == "plain"
