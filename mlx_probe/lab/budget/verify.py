"""The error of a model that was written: its files read back, beside the original."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import mlx.core as mx
import numpy as np

from mlx_probe.checkpoint import Checkpoint, Weight, open_checkpoint
from mlx_probe.core.errors import ResultError
from mlx_probe.lab.budget.matrices import arrays_of
from mlx_probe.lab.budget.measure import row_blocks
from mlx_probe.lab.budget.records import BudgetPlan, Chosen
from mlx_probe.lab.export.mlx_layout import load_lazily
from mlx_probe.source import resolve

__all__ = ["squared_errors"]


def squared_errors(
    plan: BudgetPlan, folder: Path, on_matrix: Callable[[int, int], None] = lambda done, total: None
) -> dict[str, float]:
    """The squared Frobenius error of every matrix that was changed, by name.

    The files are read and unpacked by the engine, and not by MLX, which wrote them.

    Args:
        plan: What was to be written.
        folder: What was written.
        on_matrix: Called after each matrix with how many are done, and how many there are.

    Raises:
        ResultError: A tensor is missing or cannot be read.
    """
    changed = [each for each in plan.chosen if each.choice.kind != "keep" or each.matrix.cast]
    model, _ = load_lazily(Path(plan.folder), "budget")
    arrays = arrays_of(model)
    del model
    errors = {}
    with open_checkpoint(resolve(str(folder))) as checkpoint:
        weights = _by_name(checkpoint)
        for done, chosen in enumerate(changed, 1):
            matrix = chosen.matrix
            own = {spec.name: arrays.pop(spec.name) for spec in matrix.kept}
            errors[matrix.name] = sum(
                _squared_error(chosen, own, weights, index) for index in range(matrix.stack)
            )
            on_matrix(done, len(changed))
    return errors


def _by_name(checkpoint: Checkpoint) -> dict[tuple[str, int | None], Weight]:
    whole = (weight for weight in checkpoint.weights() if weight.part is None)
    return {(weight.name, weight.stack_index): weight for weight in whole}


def _squared_error(
    chosen: Chosen,
    arrays: Mapping[str, mx.array],
    weights: Mapping[tuple[str, int | None], Weight],
    index: int,
) -> float:
    matrix = chosen.matrix
    weight = weights.get((matrix.name, index if len(matrix.shape) > 2 else None))
    why = "it is missing" if weight is None else weight.problem
    if weight is None or why is not None or weight.extents != matrix.extents:
        raise ResultError(
            f"{matrix.name} was not written as planned: {why or 'its shape is another'}",
            "Report it: this is a fault of `mlx-probe`",
        )
    first, total = 0, 0.0
    for values, _ in row_blocks(matrix, arrays, index):
        exact = np.array(values).astype(np.float64)
        difference = weight.block(first, first + len(exact)).astype(np.float64)
        difference -= exact
        total += float(np.vdot(difference, difference))
        first += len(exact)
    return total
