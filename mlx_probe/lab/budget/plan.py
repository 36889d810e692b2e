"""A budget, from a model to the choice: read top to bottom."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.budget.choose import choose
from mlx_probe.lab.budget.matrices import arrays_of, matrices_of
from mlx_probe.lab.budget.measure import FLOATS, measure
from mlx_probe.lab.budget.measures import Measures
from mlx_probe.lab.budget.options import bytes_of, rank_errors
from mlx_probe.lab.budget.records import BudgetPlan, Choice, Chosen, Curve, Goal, Kind, Matrix
from mlx_probe.lab.budget.spectra import belongs, known_tails
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
    modes: Collection[str] = MODES[:1],
    dtype: str = "auto",
    device: DeviceName = "auto",
    run: str | None = None,
    keep: Path | None = None,
    resume: bool = True,
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
        run: A finished run of `analyze`, whose singular values are taken where their squares add
            up to the squared norm of the matrix; None to compute all.
        keep: File in which what is measured is kept, for the same model and another goal, too.
        resume: Whether to use what it holds.
        on_matrix: Called after each matrix with how many are measured, and how many there are.

    Raises:
        ConfigError: A goal that cannot be reached, a choice that there is none of, or a run of
            another model.
        ProbeError: The model cannot be had, or ``keep`` cannot be written.
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
    tails = {} if run is None else known_tails(run, matrices)
    with ExitStack() as stack:
        kept = None
        if keep is not None:
            kept = stack.enter_context(Measures(keep, folder, dtype, resume))
        curves = _measured(matrices, arrays, tails, kept, on_matrix)
    decision = choose(matrices, curves, goal)
    energy = sum(curve.energy for curve in curves.values())
    squared_error = sum(decision.errors)
    share = _share(goal, squared_error / energy if energy else 0.0)
    chosen = tuple(
        _chosen(matrix, curves.get(matrix.name), share, choice, squared, rank)
        for matrix, choice, squared, rank in zip(
            matrices, decision.choices, decision.errors, decision.largest_ranks, strict=True
        )
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
        squared_error=squared_error,
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
    tails: Mapping[str, NDArray[np.float64]],
    kept: Measures | None,
    on_matrix: Callable[[int, int], None],
) -> dict[str, Curve]:
    """The curves by name; an array is given back when its matrix is done."""
    todo = [(index, matrix) for index, matrix in enumerate(matrices) if not matrix.reason]
    curves = {}
    with threadpool_limits(1, user_api="blas"):
        for done, (index, matrix) in enumerate(todo, 1):
            own = {spec.name: arrays.pop(spec.name) for spec in matrix.kept}
            curve = kept.get(index, matrix) if kept is not None else None
            if curve is None:
                curve = _curve(matrix, own, tails.get(matrix.name))
                if kept is not None:
                    kept.put(index, matrix, curve)
            curves[matrix.name] = curve
            del own
            # MLX keeps the memory of arrays that are gone.
            mx.clear_cache()
            on_matrix(done, len(todo))
    return curves


def _curve(
    matrix: Matrix, arrays: Mapping[str, mx.array], tails: NDArray[np.float64] | None
) -> Curve:
    """The curve of a matrix; singular values of another one are not taken."""
    curve = measure(matrix, arrays, tails)
    if tails is None or curve.problem or belongs(tails, curve.energy):
        return curve
    return measure(matrix, arrays)


def _share(goal: Goal, achieved: float) -> float:
    """Squared error relative to the squared norm that the goal leaves each matrix."""
    if goal.energy is not None:
        return 1 - goal.energy
    return achieved if goal.error is None else goal.error**2


def _chosen(
    matrix: Matrix,
    curve: Curve | None,
    share: float,
    choice: Choice,
    squared_error: float,
    largest_rank: int,
) -> Chosen:
    after = bytes_of(matrix, choice)
    known = curve is not None and not curve.problem
    needed = None
    if curve is not None and curve.tails is not None:
        within = np.flatnonzero(rank_errors(matrix, curve) <= share * curve.energy)
        needed = int(within[0]) if len(within) else None
    status, reason = "ok", ""
    if matrix.reason:
        status, reason = "kept", matrix.reason
    elif curve is not None and curve.problem:
        status, reason = "nonfinite", curve.problem
    elif choice == Choice():
        reason = _why_nothing(matrix, needed, largest_rank)
    return Chosen(
        matrix=matrix,
        choice=choice,
        before=matrix.stored,
        after=after,
        energy=curve.energy if known and curve is not None else None,
        squared_error=squared_error if known else None,
        rank_needed=needed,
        rank_saving=largest_rank,
        status=status,
        reason=reason,
    )


def _why_nothing(matrix: Matrix, needed: int | None, largest_rank: int) -> str:
    """Why a matrix is kept that could have been quantized or cut."""
    if not matrix.cut:
        return "fewer bits save more in other matrices" if matrix.ways else ""
    if needed is None:
        needed = min(matrix.extents)
    if needed > largest_rank:
        flat = f"it needs rank {needed}, and only ranks up to {largest_rank} save bytes"
        return f"{flat}; fewer bits save more in other matrices" if matrix.ways else flat
    return "other matrices save more at the same error"
