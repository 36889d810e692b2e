"""The choice for a goal: each matrix by itself, or all together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mlx_probe.core.errors import ConfigError
from mlx_probe.core.units import format_size
from mlx_probe.lab.budget.knapsack import InfeasibleError, solve
from mlx_probe.lab.budget.options import Options, options_of
from mlx_probe.lab.budget.records import Choice, Curve, Goal, Matrix
from mlx_probe.lab.budget.tensors import files_bytes

__all__ = ["Decision", "choose"]

# The header's digits are known after the choice: it is made again with what they leave.
_ROUNDS = 4


@dataclass(frozen=True)
class Decision:
    """A choice of each matrix.

    Attributes:
        choices: In the order of the matrices.
        size: Bytes of the files.
        bound: As of `BudgetPlan`.
    """

    choices: tuple[Choice, ...]
    size: int
    bound: float


def choose(matrices: Sequence[Matrix], curves: Mapping[str, Curve], goal: Goal) -> Decision:
    """Choose for every matrix.

    Args:
        matrices: All parameters of the model.
        curves: Of those that were measured, by name.
        goal: What is asked for.

    Raises:
        ConfigError: No choice reaches the goal.
    """
    kept = tuple(Choice() for _ in matrices)
    digits = len(str(sum(spec.nbytes for m in matrices for spec in m.kept)))
    options = [options_of(m, curves.get(m.name), digits) for m in matrices]
    if goal.energy is not None:
        choices = tuple(
            _alone(each, curves.get(m.name), goal.energy)
            for m, each in zip(matrices, options, strict=True)
        )
        return Decision(choices, _size(matrices, choices), 0.0)
    if goal.error is not None:
        return _for_error(matrices, options, curves, goal.error)
    assert goal.size is not None
    whole = _size(matrices, kept)
    if whole <= goal.size and not any(float(each.errors[0]) for each in options):
        return Decision(kept, whole, 0.0)
    return _for_size(matrices, options, goal.size)


def _alone(options: Options, curve: Curve | None, energy: float) -> Choice:
    """The fewest bytes that keep a share of the matrix's squared norm."""
    if curve is None or curve.problem:
        return Choice()
    within = np.flatnonzero(options.errors <= (1 - energy) * curve.energy)
    if not len(within):
        return Choice()
    order = np.lexsort((options.errors[within], options.nbytes[within]))
    return options.choice(int(within[order[0]]))


def _for_error(
    matrices: Sequence[Matrix],
    options: Sequence[Options],
    curves: Mapping[str, Curve],
    error: float,
) -> Decision:
    energy = sum(curve.energy for curve in curves.values())
    try:
        found = solve([o.nbytes for o in options], [o.errors for o in options], error**2 * energy)
    except InfeasibleError as none:
        least = (none.least / energy) ** 0.5
        raise ConfigError(
            f"no choice has an error of at most {error:g}: the least is {least:.3g}",
            "Allow a larger error, or leave the types as they are with --dtype auto",
        ) from None
    choices = tuple(o.choice(pick) for o, pick in zip(options, found.picks, strict=True))
    return Decision(choices, _size(matrices, choices), found.value - found.bound)


def _for_size(matrices: Sequence[Matrix], options: Sequence[Options], size: int) -> Decision:
    nbytes, errors = [o.nbytes for o in options], [o.errors for o in options]
    limit, best = float(size), None
    bound = 0.0
    for _ in range(_ROUNDS):
        try:
            found = solve(errors, nbytes, limit)
        except InfeasibleError as none:
            if best is not None:
                break
            raise _too_small(matrices, options, size, none.least - limit) from None
        choices = tuple(o.choice(pick) for o, pick in zip(options, found.picks, strict=True))
        exact = _size(matrices, choices)
        # What the header's digits, its beginning and its end differ by from the estimate.
        other = exact - found.weight
        bound = found.bound
        if exact <= size and (best is None or found.value < best[1]):
            best = choices, found.value, exact
        if limit == size - other:
            break
        limit = size - other
    if best is None:
        raise _too_small(matrices, options, size, 0.0)
    choices, value, exact = best
    return Decision(choices, exact, max(0.0, value - bound))


def _too_small(
    matrices: Sequence[Matrix], options: Sequence[Options], size: int, over: float
) -> ConfigError:
    least = _size(matrices, tuple(o.choice(int(np.argmin(o.nbytes))) for o in options))
    return ConfigError(
        f"the smallest choice takes {least:,} bytes ({format_size(least)}), more than {size:,}",
        "Give a larger --size, or allow fewer bits with --bits 2",
    )


def _size(matrices: Sequence[Matrix], choices: Sequence[Choice]) -> int:
    """Bytes of the files with weights."""
    return files_bytes(zip(matrices, choices, strict=True))
