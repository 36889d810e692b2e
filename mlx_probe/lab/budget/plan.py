"""A budget, from a model to the choice: read top to bottom."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import mlx.core as mx
import numpy as np
from threadpoolctl import threadpool_limits

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.budget.choose import choose
from mlx_probe.lab.budget.matrices import arrays_of, matrices_of
from mlx_probe.lab.budget.measure import FLOATS, measure
from mlx_probe.lab.budget.options import bytes_of
from mlx_probe.lab.budget.records import BudgetPlan, Choice, Chosen, Curve, Goal, Kind, Matrix
from mlx_probe.lab.budget.ways import BITS, GROUPS, MODES, ways_of
from mlx_probe.lab.derived_model import DTYPES, stored_type
from mlx_probe.lab.device import DeviceName, use_device
from mlx_probe.lab.export.mlx_layout import load_lazily
from mlx_probe.lab.generate.folder import find_model_folder

__all__ = ["KINDS", "plan_budget"]

KINDS: tuple[Kind, ...] = ("bits", "rank")


def plan_budget(
    model: str,
    goal: Goal,
    *,
    kinds: Collection[Kind] = KINDS,
    bits: Collection[int] = BITS,
    groups: Collection[int] = GROUPS,
    modes: Collection[str] = MODES,
    dtype: str = "auto",
    device: DeviceName = "auto",
    on_matrix: Callable[[int, int], None] = lambda done, total: None,
) -> BudgetPlan:
    """Choose what becomes of each matrix of a model: kept, fewer bits, or a lower rank.

    Args:
        model: See `find_model_folder`.
        goal: What is asked for.
        kinds: What may be done.
        bits: Widths to choose among.
        groups: Elements that share a scale, to choose among.
        modes: MLX's modes to choose among.
        dtype: Type of what is not quantized, of scales and of factors: a key of `DTYPES`, or
            "auto" to leave the types as they are.
        device: Where matrices are rounded.
        on_matrix: Called after each matrix with how many are measured, and how many there are.

    Raises:
        ConfigError: A goal that cannot be reached, or a choice that there is none of.
        ProbeError: The model cannot be had or is not loaded by mlx-lm.
    """
    _refuse(goal, kinds)
    kind = stored_type(dtype)
    ways = ways_of(modes, bits, groups) if "bits" in kinds else []
    use_device(device)
    folder = find_model_folder(model)
    network, config = load_lazily(folder, "budget")
    matrices = matrices_of(
        network, ways, kinds, None if kind is None else FLOATS[kind], _plain_type(config)
    )
    arrays = arrays_of(network)
    del network
    curves = _measured(matrices, arrays, on_matrix)
    decision = choose(matrices, curves, goal)
    energy = sum(curve.energy for curve in curves.values())
    chosen = tuple(
        _chosen(matrix, choice, curves.get(matrix.name), goal)
        for matrix, choice in zip(matrices, decision.choices, strict=True)
    )
    return BudgetPlan(
        model=model,
        folder=str(folder),
        goal=goal,
        kinds=tuple(kinds),
        dtype=dtype,
        chosen=chosen,
        before=sum(path.stat().st_size for path in folder.glob("model*.safetensors")),
        after=decision.size,
        energy=energy,
        squared_error=sum(each.squared_error or 0.0 for each in chosen),
        bound=decision.bound,
    )


def _refuse(goal: Goal, kinds: Collection[Kind]) -> None:
    given = [each for each in (goal.energy, goal.error, goal.size) if each is not None]
    if len(given) != 1:
        raise ConfigError(
            f"{len(given)} goals are given", "Give one of --energy, --error and --size"
        )
    for name, share in (("energy", goal.energy), ("error", goal.error)):
        if share is not None and not 0 < share < 1:
            raise ConfigError(f"{name} is {share:g}", "Give a number between 0 and 1")
    if not kinds:
        raise ConfigError("no kind of choice is allowed", "Give --kinds bits, rank or both")


def _plain_type(config: Mapping[str, Any]) -> mx.Dtype:
    """The type of weights whose packing does not say it."""
    return FLOATS[DTYPES.get(str(config.get("dtype") or config.get("torch_dtype")), "BF16")]


def _measured(
    matrices: Sequence[Matrix],
    arrays: dict[str, mx.array],
    on_matrix: Callable[[int, int], None],
) -> dict[str, Curve]:
    """The curves by name; an array is given back when its matrix is done."""
    todo = [matrix for matrix in matrices if not matrix.reason]
    curves = {}
    with threadpool_limits(1, user_api="blas"):
        for done, matrix in enumerate(todo, 1):
            own = {spec.name: arrays.pop(spec.name) for spec in matrix.kept}
            curves[matrix.name] = measure(matrix, own)
            del own
            on_matrix(done, len(todo))
    return curves


def _chosen(matrix: Matrix, choice: Choice, curve: Curve | None, goal: Goal) -> Chosen:
    status, reason = "ok", matrix.reason
    if matrix.reason:
        status = "kept"
    elif curve is not None and curve.problem:
        status, reason = "nonfinite", curve.problem
    known = curve is not None and not curve.problem
    needed = None
    if known and curve is not None and curve.tails is not None:
        needed = _rank_needed(curve, goal)
    return Chosen(
        matrix=matrix,
        choice=choice,
        before=matrix.stored,
        after=bytes_of(matrix, choice),
        energy=curve.energy if known and curve else None,
        squared_error=curve.error(choice) if known and curve else None,
        rank_needed=needed,
        status=status,
        reason=reason,
    )


def _rank_needed(curve: Curve, goal: Goal) -> int | None:
    """The least rank within the share that the goal leaves; None if it names none."""
    share = None
    if goal.energy is not None:
        share = 1 - goal.energy
    elif goal.error is not None:
        share = goal.error**2
    if share is None:
        return None
    within = np.flatnonzero(curve.ranks() <= share * curve.energy)
    return int(within[0]) if len(within) else None
