"""The spot check: a few tensors are recomputed in float64 from the file.

It uses plain numpy on the decoded elements, and no arithmetic of the backends.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mlx_probe.analysis.config import AnalyzeConfig
from mlx_probe.analysis.working_set import is_sketched
from mlx_probe.checkpoint import Weight
from mlx_probe.compute.schedule import run_within_budget
from mlx_probe.core.dtypes import decode
from mlx_probe.core.errors import ProbeError
from mlx_probe.runs.check import Check

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["SPOT_CHECKS", "spot_check"]

SPOT_CHECKS = 5

# Largest matrix, in elements, for which a full SVD is computed: that takes a second or two. Only
# the sums of larger ones are recomputed.
SVD_ELEMENTS = 1 << 21

# Bytes that parallel checks may take in any case: a run reserves more than that.
SMALL = 1 << 25

# Elements decoded at a time: 2 MiB in float64.
BLOCK = 1 << 18

RELATIVE = 1e-6


def spot_check(weights: Sequence[Weight], table: pa.Table, config: AnalyzeConfig) -> list[Check]:
    """Recompute a seeded choice of rows.

    Args:
        weights: The weights of the rows, in the same order.
        table: The finished table.
        config: The configuration of the rows; its seed makes the choice.

    Returns:
        One check for each of `SPOT_CHECKS` rows (all of them, if there are fewer).
    """
    candidates = [i for i, status in enumerate(table["status"].to_pylist()) if status == "ok"]
    chosen = random.Random(config.seed).sample(candidates, min(SPOT_CHECKS, len(candidates)))
    numbers = [field.name for field in table.schema if str(field.type) in ("int64", "double")]
    written = {i: {name: table[name][i].as_py() for name in numbers} for i in chosen}
    sizes = {i: _memory(weights[i]) for i in chosen}
    # In parallel only within the memory of the largest one, or very little.
    budget = max([SMALL, *sizes.values()])
    checks: dict[int, Check] = {}

    def work(i: int) -> None:
        checks[i] = _check(weights[i], written[i], config)

    # More threads than free cores make a small SVD ten times slower.
    with threadpool_limits(1, user_api="blas"):
        for _ in run_within_budget(work, list(sizes.items()), config.workers or 1, budget):
            pass
    return [checks[i] for i in sorted(checks)]


def _memory(weight: Weight) -> int:
    """Bytes to recompute a weight: pages, a chunk and blocks of it, or the matrix and its SVD."""
    svd = 32 * weight.numel if weight.has_spectrum and weight.numel <= SVD_ELEMENTS else 0
    return weight.resident_bytes + max(svd, 16 * min(weight.numel, SVD_ELEMENTS))


def _check(weight: Weight, row: Mapping[str, Any], config: AnalyzeConfig) -> Check:
    name = f"spot check of {weight.label}"
    try:
        expected, scales = _recompute(weight, config)
    except ProbeError as error:
        return Check(name, False, error.fact)
    wrong = []
    for column, value in expected.items():
        written = row.get(column)
        if written is None or not math.isclose(
            written, value, rel_tol=RELATIVE, abs_tol=RELATIVE * scales.get(column, 0.0)
        ):
            wrong.append(f"{column} is {written}, recomputed {value}")
    return Check(name, not wrong, "; ".join(wrong) or f"{', '.join(expected)} agree")


def _recompute(weight: Weight, config: AnalyzeConfig) -> tuple[dict[str, float], dict[str, float]]:
    """Values by column, and the scale of the absolute error of each."""
    n, total, small, low, high = 0, 0.0, 0, math.inf, -math.inf
    for x in _blocks(weight):
        n += x.size
        with np.errstate(over="ignore"):
            total += float(x.sum())
        small += int(np.count_nonzero(np.abs(x) <= config.zero_epsilon))
        low, high = min(low, float(x.min())), max(high, float(x.max()))
    largest = max(abs(low), abs(high))
    # Squares of extreme elements would overflow or vanish: all sums are in this unit.
    unit = largest if largest > 1e60 or 0 < largest < 1e-60 else 1.0
    mean = total / n if unit == 1.0 else sum(float((x / unit).sum()) for x in _blocks(weight)) / n
    var = sum(float(np.square(x / unit - mean).sum()) for x in _blocks(weight)) / n
    std = math.sqrt(var)
    expected = {
        "mean": mean * unit,
        "std": std * unit,
        "var": var * unit * unit,
        "min": low,
        "max": high,
        "sparsity": small / n,
    }
    # The error of a mean is relative to the elements, not to what is left when they cancel out.
    scales = {"mean": largest, "std": abs(mean) * unit, "var": mean * mean * unit * unit}
    exact = weight.has_spectrum and not is_sketched(weight, config)
    if exact and weight.numel <= SVD_ELEMENTS:
        slabs = [decode(np.array(slab), weight.chunk_dtype) for slab in weight.chunks()]
        matrix = np.concatenate(slabs, axis=0 if weight.tall else 1).astype(np.float64) / unit
        sigma = np.linalg.svd(matrix, compute_uv=False)
        expected["rank"] = int(np.count_nonzero(sigma > config.rank_tol * sigma[0]))
        if config.metrics != "basic":
            expected["spectral_norm"] = float(sigma[0]) * unit
            expected["nuclear_norm"] = float(sigma.sum()) * unit
    elif weight.has_spectrum and config.metrics != "basic":
        expected["frobenius_norm"] = math.sqrt(n * (var + mean * mean)) * unit
    # Outside of float64's range a column is null.
    return {name: x for name, x in expected.items() if math.isfinite(x)}, scales


def _blocks(weight: Weight) -> Iterator[NDArray[np.float64]]:
    """All elements in float64, a block at a time, to take less memory than the run."""
    for stored in weight.chunks():
        words = stored.reshape(-1)
        for start in range(0, words.size, BLOCK):
            yield decode(words[start : start + BLOCK], weight.chunk_dtype).astype(np.float64)
