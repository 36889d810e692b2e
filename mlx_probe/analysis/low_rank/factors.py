"""The difference of one pair as a product of two small factors, with what it leaves out."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlx_probe.analysis.compare.blocks import Floats
from mlx_probe.analysis.compare.pair import Pair
from mlx_probe.analysis.low_rank.difference import Difference, difference_bytes
from mlx_probe.compute.truncation import GRAM, SUBSPACE, gram_bytes, subspace_bytes, truncate
from mlx_probe.runs.monitor import UsageMeter

__all__ = ["Factors", "factor_bytes", "factor_pair", "method_of"]


@dataclass(frozen=True)
class Factors:
    """B - A as L R, rounded as they are stored.

    Attributes:
        left: L, shape (rows, r), float64 with the values of the stored type.
        right: R, shape (r, cols), likewise.
        columns: What is known of them: columns of `ADAPTER`.
    """

    left: Floats
    right: Floats
    columns: dict[str, Any]


def method_of(pair: Pair, rank: int | None, budget: int) -> str:
    """How a pair's leading directions are computed: exactly, where the memory allows it.

    Args:
        pair: A pair of matrices without a status.
        rank: Directions at most; None if a share of the energy decides.
        budget: Bytes.
    """
    most = rank or pair.weight.short
    exact = difference_bytes(pair) + gram_bytes(pair.weight.short, pair.weight.long, most)
    return GRAM if exact <= budget else SUBSPACE


def factor_bytes(pair: Pair, rank: int | None, method: str) -> int:
    """Bytes that `factor_pair` takes at most."""
    weight = pair.weight
    needs = gram_bytes if method == GRAM else subspace_bytes
    return difference_bytes(pair) + needs(weight.short, weight.long, rank or weight.short)


def factor_pair(
    pair: Pair,
    rank: int | None,
    energy: float | None,
    method: str,
    stored: Callable[[Floats], Floats],
    meter: UsageMeter,
) -> Factors:
    """The best factors of a difference, and their error, measured on what is stored.

    L = U sqrt(S) and R = sqrt(S) V.T of the leading singular triples, so that both have the same
    size: neither overflows a narrow type before the other.

    Args:
        pair: A pair of finite matrices that differ, without a status.
        rank: See `truncate`.
        energy: See `truncate`.
        method: See `truncate`.
        stored: Rounds to the type that factors are stored in.
        meter: Counts what it takes; its gate is passed before every chunk.

    Raises:
        CheckpointError: A file is closed, gone or changed.
        PackingError: Pieces of a packed weight contradict each other.
        SpectrumError: LAPACK did not converge.
        Stopped: The gate is closed for good.
    """
    weight = pair.weight
    difference = Difference(pair, meter)
    with meter.timed() as timed:
        with meter.stage("vectors"):
            found = truncate(difference.lines, weight.short, rank, energy, method)
        root = np.sqrt(found.sigma)
        along, across = stored(found.along * root), stored(found.across * root)
        with meter.stage("change"):
            left_out = _left_out(difference, along, across)
    left, right = (along, across.T) if difference.tall else (across, along.T)
    change, base = math.sqrt(found.energy), math.sqrt(difference.base)
    columns = {
        "lora_rank": found.rank,
        "energy_kept": found.kept,
        "best_error": math.sqrt(max(1.0 - found.kept, 0.0)),
        "adapter_error": left_out / change if change else 0.0,
        "adapter_error_of_weight": left_out / base if base else None,
        "rounding_share": math.sqrt(difference.rounding) / change if change else None,
        "change_norm": change,
        "norm": base,
        "left_out_norm": left_out,
        "largest_direction": float(found.sigma[0]) if found.rank else 0.0,
        "extract_method": found.method,
        "settled": found.settled,
        "seconds": timed.seconds,
    }
    return Factors(np.ascontiguousarray(left), np.ascontiguousarray(right), columns)


def _left_out(difference: Difference, along: Floats, across: Floats) -> float:
    """Norm of what factors leave out of a difference."""
    total, first = 0.0, 0
    for lines in difference.lines():
        rest = lines - along[first : first + len(lines)] @ across.T
        total += float(np.vdot(rest, rest))
        first += len(lines)
    return math.sqrt(total)
