"""The columns of a comparison."""

from __future__ import annotations

from dataclasses import replace

from mlx_probe.analysis.columns import BASE_COLUMNS
from mlx_probe.analysis.compare.change_columns import CHANGE, SUBSPACES
from mlx_probe.analysis.compare.difference_columns import DIFFERENCE
from mlx_probe.core.column_texts import HERE, THE_FILE
from mlx_probe.core.records import Column

__all__ = ["COLUMNS", "STATUSES"]

# ok: every number that applies is there.     identical: all differences are exactly 0.
# only_a, only_b: no counterpart in the other model.      reshaped: the shapes differ.
# nonfinite: NaN or Inf in one of the two.    empty, scalar: nothing to compare.
# skipped: the tensor, or what an adapter does to it, is not understood.
# failed: the numerics gave up. All but ok and identical have a reason.
STATUSES = (
    *("ok", "identical", "only_a", "only_b", "reshaped"),
    *("nonfinite", "empty", "scalar", "skipped", "failed"),
)


_BASE = {column.name: column for column in BASE_COLUMNS}
_IDENTITY = (
    replace(
        _BASE["param_name"],
        description="Name of the tensor in A; null if only B has it.",
        required=False,
    ),
    Column(
        "other_name",
        "string",
        "identity",
        "Name of the tensor in B; null if only A has it.",
        title="Tensor in B",
        plain="The name of the counterpart in the second model.",
        typical="The same name as in A, unless the file formats differ or B is an adapter.",
        caveat="A counterpart by role need not have been trained from this tensor: see "
        "`matched_by`.",
        source=THE_FILE,
    ),
    _BASE["layer_index"],
    replace(_BASE["block_type"], description="Role of the tensor in the network."),
    replace(_BASE["component"], description="Place of the tensor."),
    _BASE["expert_index"],
    replace(
        _BASE["part"],
        description="Part of a fused matrix of A (of B, if only B has it) that the row is about; "
        "the fused matrix has a row too, so leave parts out of sums.",
    ),
    replace(_BASE["shape"], description="Shape in A; null if only B has it.", required=False),
    Column(
        "other_shape",
        "list<int64>",
        "identity",
        "Shape in B; null if only A has it.",
        title="Shape in B",
        plain="How many numbers the counterpart has along each of its axes.",
        typical="The same as in A; otherwise the row is reshaped and has no numbers.",
        caveat="Vocabularies that were extended differ in their first axis only, and are not "
        "compared.",
        source=THE_FILE,
    ),
    replace(_BASE["rows"], description="Rows of the matrix; null if it is none."),
    replace(_BASE["cols"], description="Columns of the matrix; null if it is none."),
    replace(_BASE["numel"], description="Number of elements."),
    replace(_BASE["dtype"], description="Element type as stored in A.", required=False),
    Column(
        "other_dtype",
        "string",
        "identity",
        "Element type as stored in B.",
        title="Stored type in B",
        plain="The number format in which the second model holds the elements.",
        typical="The same as in A, or BF16 against F32 after a conversion.",
        caveat="A narrower type in B makes every element change a little without any training.",
        source=THE_FILE,
    ),
    replace(
        _BASE["packing"],
        description="How the elements are stored in A.",
        family="identity",
        required=False,
    ),
    Column(
        "other_packing",
        "string",
        "identity",
        "How the elements are stored in B.",
        title="Packing in B",
        plain="The scheme by which the second model's file squeezes the numbers.",
        typical="The same as in A, or a quantized copy's packing against plain.",
        caveat="Where it differs, the change is mostly the rounding of the quantization.",
        source=THE_FILE,
    ),
    replace(_BASE["status"], description=f"{', '.join(STATUSES[:-1])} or failed."),
    replace(_BASE["status_reason"], description="Why there are no numbers; null if there are."),
    Column(
        "matched_by",
        "string",
        "identity",
        "How the counterpart was matched: name, role, or adapter; null if there is none.",
        title="Matched by",
        plain="How the two tensors were recognized as counterparts.",
        typical="name for two checkpoints of one format, role between formats, adapter for an "
        "adapter's targets.",
        caveat="A match by role says that both do the same work in the same layer, not that one "
        "was made from the other.",
        source=HERE,
    ),
    _BASE["host"],
    replace(_BASE["compute_seconds"], description="Time of the worker."),
)

COLUMNS: tuple[Column, ...] = (*_IDENTITY, *CHANGE, *DIFFERENCE, *SUBSPACES)
