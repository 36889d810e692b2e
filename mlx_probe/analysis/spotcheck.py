"""The spot check: a few tensors are recomputed in float64 from the file.

It uses plain numpy on the decoded elements, and no arithmetic of the backends. Recomputing needs
the weight only, so a run does it on cores that fall idle beside its last weights, for the rows
that will be chosen if all are ok; the comparison with the finished table comes at the end.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mlx_probe.analysis.config import AnalyzeConfig
from mlx_probe.analysis.measure import unmeasured
from mlx_probe.analysis.working_set import is_sketched
from mlx_probe.checkpoint import Weight
from mlx_probe.compute.schedule import run_within_budget
from mlx_probe.core.dtypes import decode
from mlx_probe.core.errors import ProbeError, Stopped
from mlx_probe.core.records import Row
from mlx_probe.runs.check import Check
from mlx_probe.runs.monitor import UsageMeter

if TYPE_CHECKING:
    import pyarrow as pa

    from mlx_probe.analysis.plan import Plan

__all__ = [
    "SPOT_CHECKS",
    "SVD_ELEMENTS",
    "Recomputed",
    "SpotChecks",
    "expected_rows",
    "memory_of",
    "spot_check",
]

SPOT_CHECKS = 5

# Largest matrix, in elements, for which a full SVD is computed: that takes a second or two. Only
# the sums of larger ones are recomputed.
SVD_ELEMENTS = 1 << 21

# Bytes that parallel checks may take in any case: a run reserves more than that.
SMALL = 1 << 25

# Elements decoded at a time: 2 MiB in float64.
BLOCK = 1 << 18

RELATIVE = 1e-6


@dataclass(frozen=True)
class Recomputed:
    """What plain numpy says of a weight.

    Attributes:
        values: By column.
        scales: The scale of the absolute error of a column; 0 if it has none.
        problem: Why there are no values; None if there are.
    """

    values: Mapping[str, float] = field(default_factory=dict)
    scales: Mapping[str, float] = field(default_factory=dict)
    problem: str | None = None


class SpotChecks:
    """The spot checks of a run that is under way.

    Args:
        plan: The plan.
        statuses: Of the rows of an earlier process, by index.
        meter: Counts the cost; its gate is passed.
    """

    def __init__(self, plan: Plan, statuses: Mapping[int, str], meter: UsageMeter) -> None:
        self._plan, self._meter = plan, meter
        self._expected = expected_rows(plan, statuses)
        self._recomputed: dict[int, Recomputed] = {}

    def ahead(self) -> list[tuple[Callable[[], list[Row]], int]]:
        """Work for idle cores, without rows, the longest first; and the bytes that each takes."""
        weights = self._plan.weights
        order = sorted(self._expected, key=lambda i: (-weights[i].numel, i))
        return [(partial(self._recompute, i), memory_of(weights[i])) for i in order]

    def checks(self, table: pa.Table) -> list[Check]:
        """Compare with the finished table; see `spot_check`."""
        return spot_check(self._plan.weights, table, self._plan.config, self._recomputed)

    def _recompute(self, i: int) -> list[Row]:
        # If the gate is closed for good and the run ends all the same, it is done afterwards.
        with suppress(Stopped):
            self._meter.gate.wait()
            with self._meter.stage("check"):
                self._recomputed[i] = recompute(self._plan.weights[i], self._plan.config)
        return []


def expected_rows(plan: Plan, known: Mapping[int, str]) -> list[int]:
    """The rows that will be checked if all that are not finished will be ok.

    Args:
        plan: The plan.
        known: Statuses of the rows of an earlier process, by index.
    """
    statuses = []
    for position, weight in enumerate(plan.weights):
        if position in plan.unsampled:
            statuses.append("unsampled")
            continue
        i = plan.aliases.get(position, position)
        outcome = unmeasured(weight)
        statuses.append(known.get(i) or (outcome.status if outcome else "ok"))
    return _chosen(statuses, plan.config.seed)


def spot_check(
    weights: Sequence[Weight],
    table: pa.Table,
    config: AnalyzeConfig,
    recomputed: Mapping[int, Recomputed] = MappingProxyType({}),
) -> list[Check]:
    """Recompute a seeded choice of rows.

    Args:
        weights: The weights of the rows, in the same order.
        table: The finished table.
        config: The configuration of the rows; its seed makes the choice.
        recomputed: What is recomputed already, by row.

    Returns:
        One check for each of `SPOT_CHECKS` rows (all of them, if there are fewer).
    """
    chosen = _chosen(table["status"].to_pylist(), config.seed)
    results = {i: recomputed[i] for i in chosen if i in recomputed}
    sizes = {i: memory_of(weights[i]) for i in chosen if i not in results}
    # In parallel only within the memory of the largest one, or very little.
    budget = max([SMALL, *sizes.values()])

    def work(i: int) -> None:
        results[i] = recompute(weights[i], config)

    # More threads than free cores make a small SVD ten times slower.
    with threadpool_limits(1, user_api="blas"):
        for _ in run_within_budget(work, list(sizes.items()), config.workers or 1, budget):
            pass
    numbers = [field.name for field in table.schema if str(field.type) in ("int64", "double")]
    rows = {i: {name: table[name][i].as_py() for name in numbers} for i in chosen}
    return [_check(weights[i], rows[i], results[i]) for i in sorted(chosen)]


def _chosen(statuses: Sequence[str], seed: int) -> list[int]:
    candidates = [i for i, status in enumerate(statuses) if status == "ok"]
    return random.Random(seed).sample(candidates, min(SPOT_CHECKS, len(candidates)))


def memory_of(weight: Weight) -> int:
    """Bytes to recompute a weight: pages, a chunk and blocks of it, or the matrix and its SVD."""
    whole = 20 * weight.numel if weight.numel <= SVD_ELEMENTS else 0
    return weight.resident_bytes + max(whole, 16 * min(weight.numel, SVD_ELEMENTS))


def _check(weight: Weight, row: Mapping[str, Any], recomputed: Recomputed) -> Check:
    name = f"spot check of {weight.label}"
    if recomputed.problem is not None:
        return Check(name, False, recomputed.problem)
    wrong = []
    for column, value in recomputed.values.items():
        written = row.get(column)
        scale = recomputed.scales.get(column, 0.0)
        if written is None or not math.isclose(
            written, value, rel_tol=RELATIVE, abs_tol=RELATIVE * scale
        ):
            wrong.append(f"{column} is {written}, recomputed {value}")
    return Check(name, not wrong, "; ".join(wrong) or f"{', '.join(recomputed.values)} agree")


def recompute(weight: Weight, config: AnalyzeConfig) -> Recomputed:
    """Recompute a weight, in one thread.

    Args:
        weight: A readable weight with elements.
        config: The configuration of its row.
    """
    try:
        return _recompute(weight, config)
    except ProbeError as error:
        return Recomputed(problem=error.fact)
    except np.linalg.LinAlgError as error:
        return Recomputed(problem=f"the SVD to compare with failed: {error}")


def _recompute(weight: Weight, config: AnalyzeConfig) -> Recomputed:
    # A small weight is decoded once, a large one for each pass.
    whole = _whole(weight) if weight.numel <= SVD_ELEMENTS else None

    def blocks() -> Iterator[NDArray[np.float64]]:
        return _blocks(weight) if whole is None else iter((whole,))

    n, total, small, low, high = 0, 0.0, 0, math.inf, -math.inf
    for x in blocks():
        n += x.size
        with np.errstate(over="ignore", invalid="ignore"):
            total += float(x.sum())
            least, most = float(x.min()), float(x.max())
        if not (math.isfinite(least) and math.isfinite(most)):
            return Recomputed(problem="the file holds NaN or infinite elements")
        small += int(np.count_nonzero(np.abs(x) <= config.zero_epsilon))
        low, high = min(low, least), max(high, most)
    largest = max(abs(low), abs(high))
    # Squares of extreme elements would overflow or vanish: all sums are in this unit.
    unit = largest if largest > 1e60 or 0 < largest < 1e-60 else 1.0
    mean = total / n if unit == 1.0 else sum(float((x / unit).sum()) for x in blocks()) / n
    var = sum(float(np.square(x / unit - mean).sum()) for x in blocks()) / n
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
    if weight.has_spectrum and whole is not None and not is_sketched(weight, config):
        whole /= unit
        sigma = np.linalg.svd(whole, compute_uv=False)
        expected["rank"] = int(np.count_nonzero(sigma > config.rank_tol * sigma[0]))
        if config.metrics != "basic":
            expected["spectral_norm"] = float(sigma[0]) * unit
            expected["nuclear_norm"] = float(sigma.sum()) * unit
    elif weight.has_spectrum and config.metrics != "basic":
        expected["frobenius_norm"] = math.sqrt(n * (var + mean * mean)) * unit
    # Outside of float64's range a column is null.
    return Recomputed({name: x for name, x in expected.items() if math.isfinite(x)}, scales)


def _whole(weight: Weight) -> NDArray[np.float64]:
    """All elements in float64, a matrix in its shape."""
    wide = weight.rows is not None and not weight.tall
    shape = weight.extents if weight.rows is not None else (weight.numel,)
    whole, filled = np.empty(shape), 0
    for stored in weight.chunks():
        last = filled + stored.shape[1 if wide else 0]
        part = whole[:, filled:last] if wide else whole[filled:last]
        part[...] = decode(stored, weight.chunk_dtype)
        filled = last
    return whole


def _blocks(weight: Weight) -> Iterator[NDArray[np.float64]]:
    """All elements in float64, a block at a time, to take less memory than the run."""
    for stored in weight.chunks():
        words = stored.reshape(-1)
        for start in range(0, words.size, BLOCK):
            yield decode(words[start : start + BLOCK], weight.chunk_dtype).astype(np.float64)
