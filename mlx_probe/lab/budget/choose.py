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
from mlx_probe.lab.tensor_stream import ALIGNMENT, SHARD_BYTES

__all__ = ["Decision", "choose"]

# The header's digits are known after the choice: it is made again until it fits.
_ROUNDS = 8
# Of a header, at most.
_PADDING = ALIGNMENT


@dataclass(frozen=True)
class Decision:
    """A choice of each matrix.

    Attributes:
        choices: In the order of the matrices.
        errors: Their squared errors.
        largest_ranks: The largest rank of each matrix that saves bytes; 0 for none.
        size: Bytes of the files.
        bound: As of `BudgetPlan`.
    """

    choices: tuple[Choice, ...]
    errors: tuple[float, ...]
    largest_ranks: tuple[int, ...]
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
    largest = goal.size or sum(spec.nbytes for m in matrices for spec in m.kept)
    digits = len(str(largest))
    options = [options_of(m, curves.get(m.name), digits) for m in matrices]
    if goal.energy is not None:
        picks = [
            _alone(each, curves.get(m.name), goal.energy)
            for m, each in zip(matrices, options, strict=True)
        ]
        bound = 0.0
    elif goal.error is not None:
        picks, bound = _for_error(options, curves, goal.error)
    else:
        assert goal.size is not None
        picks, bound = _for_size(matrices, options, goal.size)
    choices = _choices(options, picks)
    return Decision(
        choices=choices,
        errors=tuple(float(o.errors[pick]) for o, pick in zip(options, picks, strict=True)),
        largest_ranks=tuple(each.largest_rank for each in options),
        size=_size(matrices, choices),
        bound=bound,
    )


def _alone(options: Options, curve: Curve | None, energy: float) -> int:
    """The fewest bytes that keep a share of the matrix's squared norm."""
    if curve is None or curve.problem:
        return 0
    within = np.flatnonzero(options.errors <= (1 - energy) * curve.energy)
    if not len(within):
        return 0
    order = np.lexsort((options.errors[within], options.nbytes[within]))
    return int(within[order[0]])


def _for_error(
    options: Sequence[Options], curves: Mapping[str, Curve], error: float
) -> tuple[list[int], float]:
    energy = sum(curve.energy for curve in curves.values())
    try:
        found = solve([o.nbytes for o in options], [o.errors for o in options], error**2 * energy)
    except InfeasibleError as none:
        least = (none.least / energy) ** 0.5
        raise ConfigError(
            f"no choice has an error of at most {error:g}: the least is {least:.3g}",
            "Allow a larger error, or leave the types as they are with --dtype auto",
        ) from None
    return list(found.picks), found.value - found.bound


def _for_size(
    matrices: Sequence[Matrix], options: Sequence[Options], size: int
) -> tuple[list[int], float]:
    """The least error within a size.

    The bytes of an option have an estimate of its part of the header, with offsets of the size's
    digits: how many they really have follows from the choice of the others. The first limit is
    wide enough for every choice of that size, so its bound holds for all of them. It is
    tightened until the choice itself fits.
    """
    files = size // SHARD_BYTES + 2
    widest = float(size + _most_slack(matrices, options, len(str(size)), files))
    # Here the estimate cannot be too small: beginning and padding of each header.
    surest = float(size - files * (files_bytes([]) + _PADDING))
    limit, bound = widest, 0.0
    for turn in range(_ROUNDS):
        try:
            found = solve([o.errors for o in options], [o.nbytes for o in options], limit)
        except InfeasibleError:
            break
        picks = list(found.picks)
        if turn == 0:
            bound = found.bound
        over = _size(matrices, _choices(options, picks)) - size
        if over <= 0:
            return picks, max(0.0, found.value - bound)
        limit = found.weight - over if turn < _ROUNDS - 2 else surest
    lightest = [int(np.argmin(o.nbytes)) for o in options]
    least = _size(matrices, _choices(options, lightest))
    if least > size:
        raise ConfigError(
            f"the smallest choice takes {least:,} bytes ({format_size(least)}), more than {size:,}",
            "Give a larger --size, or allow fewer bits, more modes or ranks",
        )
    value = sum(float(o.errors[i]) for o, i in zip(options, lightest, strict=True))
    return lightest, max(0.0, value - bound)


def _most_slack(
    matrices: Sequence[Matrix], options: Sequence[Options], digits: int, files: int
) -> int:
    """Bytes that the estimate of a header is too large by at most, whatever is chosen.

    An offset lacks a digit for each power of ten, up to the last, that it is below. In each file
    such offsets are those of tensors with few bytes before them.
    """
    order = sorted(range(len(matrices)), key=lambda i: matrices[i].name)
    least = [float(options[i].nbytes.min()) for i in order]
    # A quantized matrix has two tensors more than a plain one, a cut one has one more.
    most = [len(matrices[i].kept) + 2 for i in order]
    slack = 0
    for power in range(1, digits):
        first, nbytes, tensors, largest = 0, 0.0, 0, 0
        for last in range(len(order)):
            # Those between the first and the last have less than that power of ten.
            tensors += most[last]
            while nbytes >= 10**power:
                tensors -= most[first]
                first += 1
                nbytes -= least[first] if first < last else 0.0
            largest = max(largest, tensors)
            if last > first:
                nbytes += least[last]
        slack += 2 * largest * files
    return slack


def _choices(options: Sequence[Options], picks: Sequence[int]) -> tuple[Choice, ...]:
    return tuple(each.choice(pick) for each, pick in zip(options, picks, strict=True))


def _size(matrices: Sequence[Matrix], choices: Sequence[Choice]) -> int:
    """Bytes of the files with weights."""
    return files_bytes(zip(matrices, choices, strict=True))
