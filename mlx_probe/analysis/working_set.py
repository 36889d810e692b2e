"""Whether a weight is measured exactly or by a sketch, and how much memory that takes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from mlx_probe.checkpoint import Weight, chunk_extent
from mlx_probe.compute import calibration
from mlx_probe.compute.backends import Backend
from mlx_probe.compute.solver_crossover import EigenSolvers
from mlx_probe.compute.spectrum import sketch_bytes
from mlx_probe.core.dtypes import DTYPES

if TYPE_CHECKING:
    from mlx_probe.analysis.config import AnalyzeConfig

__all__ = ["KEPT", "eigen_solvers", "is_sketched", "working_set"]

# Short side from which `--spectrum approx` approximates: below, the exact way is about as fast
# (on one core 0.7 s against 0.4 s at 2,048, 0.1 s against 0.2 s at 1,024).
SKETCHED_FROM = 2048

# Bytes of a worker's memory that the allocator keeps, beside those of its next weight.
KEPT = 16_000_000


def is_sketched(weight: Weight, config: AnalyzeConfig) -> bool:
    """Whether a weight's spectrum is approximated; for a small one the exact way is as fast."""
    if config.spectrum == "exact" or not weight.has_spectrum:
        return False
    return weight.short >= SKETCHED_FROM


def eigen_solvers(shorts: Iterable[int]) -> EigenSolvers:
    """Which eigen-solver this machine gives to a matrix.

    Args:
        shorts: Short sides of the matrices. If all are small, no calibration is made, which
            takes seconds.
    """
    if max(shorts, default=0) < calibration.SMALLEST_TWO_STAGE:
        return EigenSolvers()
    return calibration.eigen_solvers()


def working_set(weight: Weight, backend: Backend, config: AnalyzeConfig) -> int:
    """Bytes of memory to measure a weight, at most."""
    short = weight.short
    slab = short * min(weight.long, chunk_extent(short))
    itemsize = DTYPES[weight.chunk_dtype].itemsize if weight.problem is None else 0
    if is_sketched(weight, config):
        kept = 4 * weight.numel + sketch_bytes(short)
        return KEPT + weight.resident_bytes + backend.working_set(slab, itemsize, 0) + kept
    factorized = short if weight.has_spectrum else 0
    size = KEPT + weight.resident_bytes + backend.working_set(slab, itemsize, factorized)
    if weight.encoding is not None and backend.in_place and backend.decodes(weight.encoding):
        # The slab's words, and not its elements.
        size -= (itemsize * weight.numel - weight.nbytes) * slab // weight.numel
    return size
