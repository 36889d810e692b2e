"""What rounding to few bits does to the weights: the engine's quantization error of each width."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from mlx_probe.analysis.config import AnalyzeConfig
from mlx_probe.analysis.loading import loaded_chunks
from mlx_probe.analysis.plan import make_plan
from mlx_probe.checkpoint import Checkpoint, Weight
from mlx_probe.compute.backends import Backend
from mlx_probe.core.errors import ProbeError
from mlx_probe.lab.plan_run.sizes import is_quantizable

__all__ = ["Quality", "RoundedMatrix", "rounding_errors"]


@dataclass(frozen=True)
class RoundedMatrix:
    """The errors of one matrix.

    Attributes:
        name: Its label.
        elements: Its elements.
        energy: Sum of squares.
        squared: Sum of squared errors, by bits.
    """

    name: str
    elements: int
    energy: float
    squared: Mapping[int, float]

    def error(self, bits: int) -> float:
        """RMSE of rounding over the RMS of the weights: the column q4_nrmse for 4 bits."""
        return math.sqrt(self.squared[bits] / self.energy) if self.energy else 0.0


@dataclass(frozen=True)
class Quality:
    """The errors of a model.

    Attributes:
        matrices: Those that were rounded.
        of: Matrices that MLX would quantize.
        sample: Which were chosen, as `--sample` has it; "" for all.
        unknown: Why there are none; "" if there are.
    """

    matrices: tuple[RoundedMatrix, ...] = ()
    of: int = 0
    sample: str = ""
    unknown: str = ""

    def error(self, bits: int) -> float | None:
        """RMSE over RMS of all matrices together; None if unknown, 0 without rounding."""
        if bits >= 16:
            return 0.0
        energy = sum(matrix.energy for matrix in self.matrices)
        if not energy:
            return None
        return math.sqrt(sum(matrix.squared[bits] for matrix in self.matrices) / energy)

    def worst(self, bits: int, count: int) -> list[RoundedMatrix]:
        """The matrices with the largest errors, the largest first."""
        return sorted(self.matrices, key=lambda m: (-m.error(bits), m.name))[:count]


def rounding_errors(
    checkpoint: Checkpoint,
    widths: Sequence[int],
    sample: str,
    on_matrix: Callable[[int, int], None] = lambda done, total: None,
) -> Quality:
    """Round the matrices of a model to each width, as MLX would, and sum up the errors.

    Args:
        checkpoint: The model, on this disk.
        widths: Bits below 16.
        sample: As of `AnalyzeConfig`; "" for every matrix. One that would leave nothing out, as
            of a model with few layers, is taken as "".
        on_matrix: Called after each matrix with how many are done, and how many there are.
    """
    config = AnalyzeConfig(metrics="basic", sample=sample)
    try:
        plan = make_plan(checkpoint, config, strict=False)
    except ProbeError:
        if not sample:
            raise
        return rounding_errors(checkpoint, widths, "", on_matrix)
    whole = [w for w in checkpoint.weights() if w.part is None and is_quantizable(w)]
    chosen = [w for w in plan.measured if w.part is None and is_quantizable(w)]

    def rounded(weight: Weight) -> RoundedMatrix:
        return _rounded(weight, plan.backend, widths)

    finite = []
    with ThreadPoolExecutor(plan.config.workers) as pool:
        for done, matrix in enumerate(pool.map(rounded, chosen), 1):
            on_matrix(done, len(chosen))
            if math.isfinite(matrix.energy + sum(matrix.squared.values())):
                finite.append(matrix)
    if not finite:
        why = "no matrix of finite floats has rows of a multiple of 64"
        return Quality(of=len(whole), sample=sample, unknown=why)
    return Quality(tuple(finite), len(whole), sample)


def _rounded(weight: Weight, backend: Backend, widths: Sequence[int]) -> RoundedMatrix:
    elements = backend.element_pass(weight.chunk_dtype, 0.0)
    rounding = backend.quantization_pass(*weight.extents, weight.chunk_dtype, widths)
    for loaded in loaded_chunks(weight, backend):
        elements.add(loaded.chunk)
        rounding.add(loaded.chunk)
    moments = elements.finish()
    energy = math.ldexp(moments.sum_of_squares, 2 * moments.exponent)
    return RoundedMatrix(weight.label, weight.numel, energy, rounding.finish().squared_error)
