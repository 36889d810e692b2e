"""The columns of the table of an extracted adapter."""

from __future__ import annotations

from dataclasses import replace

from mlx_probe.analysis.compare.columns import COLUMNS
from mlx_probe.core.column_texts import HERE
from mlx_probe.core.records import Column

__all__ = ["ADAPTER", "STATUSES"]

# ok: the change has factors in at least one of the two adapters.
# identical: nothing changed.      left_out: it changed, and no adapter has a place for it.
# unknown: B has no counterpart, or the change has no numbers.
STATUSES = ("ok", "identical", "left_out", "unknown")

_BASE = {column.name: column for column in COLUMNS}
_FAMILY = "adapter"

ADAPTER: tuple[Column, ...] = (
    *(
        _BASE[name]
        for name in ("param_name", "layer_index", "block_type", "component", "expert_index")
    ),
    _BASE["rows"],
    _BASE["cols"],
    replace(_BASE["status"], description="ok, identical, left_out or unknown."),
    replace(
        _BASE["status_reason"],
        description="Why an adapter, or one of the two, does not have the change.",
    ),
    Column(
        "lora_rank",
        "int64",
        _FAMILY,
        "Rank of the factors that were written.",
        lower=0,
        title="Rank of the factors",
        plain="How many directions of the change the adapter has.",
        typical="The rank that was asked for.",
        caveat="It is below the rank that was asked for where the change has fewer directions.",
        source=HERE,
        formula="r of B - A ~ L R",
    ),
    _BASE["delta_rank_above_rounding"],
    Column(
        "energy_kept",
        "float64",
        _FAMILY,
        "Share of the change's sum of squares that its leading directions have.",
        lower=0,
        upper=1,
        title="Share kept",
        plain="How much of the change, measured in squares, the adapter can have at this rank.",
        typical="Near 1 for a merged LoRA of this rank, far lower after full fine-tuning.",
        caveat="0.99 still leaves a tenth of the change's norm out.",
        source="Eckart and Young 1936",
        formula="sum of the r largest sigma^2 / sum of all sigma^2",
    ),
    Column(
        "best_error",
        "float64",
        _FAMILY,
        "Relative Frobenius error of the best approximation of this rank.",
        lower=0,
        upper=1,
        title="Least error at this rank",
        plain="What any adapter of this rank must leave out of the change.",
        typical="Below 0.001 for a merged float32 LoRA of this rank.",
        caveat="After the iteration that large matrices need, it is what was reached.",
        source="Eckart and Young 1936",
        formula="sqrt(1 - energy_kept)",
    ),
    Column(
        "adapter_error",
        "float64",
        _FAMILY,
        "Relative Frobenius error of the factors as they are stored, measured element by element.",
        lower=0,
        title="Error of the adapter",
        plain="What the written adapter leaves out of this matrix's change.",
        typical="The least error at this rank, plus the rounding of the factors.",
        caveat="A change stored in 16 bits has rounding that no small adapter can have: compare "
        "it with the share of rounding.",
        source=HERE,
        formula="||B - A - L R||_F / ||B - A||_F",
    ),
    Column(
        "adapter_error_of_weight",
        "float64",
        _FAMILY,
        "The same error, relative to the weight of A.",
        lower=0,
        title="Error of the adapter, of the weight",
        plain="How far the base with its adapter is from B, as a share of the weight.",
        typical="Far below 0.01 where little changed.",
        caveat="A small share can still decide what a model says.",
        source=HERE,
        formula="||B - A - L R||_F / ||A||_F",
    ),
    Column(
        "rounding_share",
        "float64",
        _FAMILY,
        "Norm that rounding B to its stored type is expected to add, relative to the change.",
        lower=0,
        title="Share of rounding",
        plain="How large the rounding of B's file is beside the change.",
        typical="Negligible in float32; it may reach 1 for a small change in bfloat16.",
        caveat="It is an expectation, as if the last digits were random.",
        source="rounding to nearest: variance ulp^2 / 12",
        formula="sqrt(sum of ulp(b)^2 / 12) / ||B - A||_F",
    ),
    _BASE["change_norm"],
    _BASE["norm"],
    Column(
        "extract_method",
        "string",
        _FAMILY,
        "How the leading directions were computed: gram_f64 or subspace_f64.",
        title="Method for the factors",
        plain="The algorithm that gave the leading directions.",
        typical="`gram_f64`; `subspace_f64` where no Gram matrix fits into the memory.",
        caveat="`subspace_f64` may miss a little of what is best; the error is measured either "
        "way.",
        source="Halko, Martinsson and Tropp 2011",
    ),
    Column(
        "peft",
        "string",
        _FAMILY,
        "What the PEFT adapter has of it: lora, whole, or null for nothing.",
        title="In PEFT",
        plain="How the adapter for PEFT carries this change.",
        typical="lora for every projection.",
        caveat="Null is only a loss where something changed.",
        source=HERE,
    ),
    Column(
        "mlx_lm",
        "string",
        _FAMILY,
        "What the mlx-lm adapter has of it: lora, or null for nothing.",
        title="In mlx-lm",
        plain="How the adapter for mlx-lm carries this change.",
        typical="lora for every projection, and for experts.",
        caveat="Factors of a lower rank are filled up with zeros to the largest rank.",
        source=HERE,
    ),
)
