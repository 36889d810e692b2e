"""Columns of a comparison: the spectrum of the difference."""

from __future__ import annotations

from dataclasses import replace

from mlx_probe.core.column_texts import OF_SHORT_SIDE
from mlx_probe.core.records import Column
from mlx_probe.metrics import METRICS, Metric

__all__ = ["DELTA", "DIFFERENCE"]

_BY_NAME = {metric.name: metric for metric in METRICS}


def _of_difference(name: str, title: str, plain: str, caveat: str, typical: str = "") -> Column:
    """The column of a metric of B - A."""
    column = _BY_NAME[name].column
    text = column.description
    return replace(
        column,
        name=f"delta_{name}",
        family="difference",
        description=f"Of the difference B - A: {text[:1].lower()}{text[1:]}",
        # Wider than the bound for a weight: a difference may be 0.
        lower=0 if column.lower is not None else None,
        title=title,
        plain=plain,
        typical=typical or column.typical,
        caveat=caveat,
        formula=f"{name} of B - A" if column.formula else "",
    )


_METRICS_OF_DIFFERENCE = (
    _of_difference(
        "rank",
        title="Rank of the change",
        plain="How many independent directions changed, counting even the weakest.",
        caveat="After a merge was stored in 16 bits, rounding fills all directions: see "
        "`delta_rank_above_rounding`.",
    ),
    _of_difference(
        "spectral_norm",
        title="Spectral norm of the change",
        plain="The most by which the change can move an output, for an input of length 1.",
        caveat="Compare it with the matrix's own `spectral_norm`: large matrices have large "
        "changes.",
    ),
    _of_difference(
        "stable_rank",
        title="Stable rank of the change",
        plain="How many directions as strong as the strongest one would hold all of the change.",
        caveat="One strong direction lowers it even if the rest of the change is spread out.",
    ),
    _of_difference(
        "effective_rank",
        title="Effective rank of the change",
        plain="How many directions the change uses: few for adapters, nearly all for rounding.",
        caveat="A high value is also what noise has: it does not say that much was learned.",
    ),
    _of_difference(
        "energy_rank_90",
        title="90 % energy rank of the change",
        plain="How many of the strongest directions hold 90 % of the change.",
        caveat="The rounding of the file raises it: a stored merge has a higher one than its "
        "adapter.",
    ),
    _of_difference(
        "energy_rank_95",
        title="95 % energy rank of the change",
        plain="How many of the strongest directions hold 95 % of the change.",
        caveat="The rounding of the file raises it: a stored merge has a higher one than its "
        "adapter.",
    ),
    _of_difference(
        "energy_rank_99",
        title="99 % energy rank of the change",
        plain="How many of the strongest directions hold 99 % of the change.",
        caveat="An adapter of this rank would still miss a tenth of the change's norm.",
    ),
    _of_difference(
        "spectrum_method",
        title="Method for the change",
        plain="How the singular values of the change were computed.",
        typical="`gram_native_f64` or `gram_f64`; `zero_matrix` where nothing changed.",
        caveat="It may differ from the method with which A or B alone was analyzed.",
    ),
    _of_difference(
        "spectrum_error",
        title="Error bound for the change",
        plain="How wrong a singular value of the change can be at most, as a share of the largest "
        "one.",
        caveat="It is relative to the change, not to the weights, and leaves out the rounding of "
        "both files.",
    ),
)

# The metrics whose columns these are.
DELTA: tuple[Metric, ...] = tuple(
    _BY_NAME[column.name.removeprefix("delta_")] for column in _METRICS_OF_DIFFERENCE
)

DIFFERENCE: tuple[Column, ...] = (
    *_METRICS_OF_DIFFERENCE,
    Column(
        "delta_rank_above_rounding",
        "int64",
        "difference",
        "Singular values of B - A above what rounding B to its number format makes of any matrix: "
        "the rank of an update that was merged and stored. Null for adapters.",
        lower=0,
        title="Rank of the change above rounding",
        plain="How many directions of the change are stronger than rounding the file could make.",
        typical=OF_SHORT_SIDE,
        caveat="A small update drowns in the rounding: 0 does not say that nothing was trained.",
        source="Bandeira and van Handel 2016",
        formula="#{sigma of B - A > the bound on the norm of B's rounding}",
    ),
)
