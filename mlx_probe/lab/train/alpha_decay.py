"""Weight decay of each matrix by the tail of its spectrum.

The heavier the tail of a matrix's eigenvalues, the more it has learned, and the less it is
decayed: the multiplier of the weight decay rises linearly with the power-law exponent, from 2/3
for the smallest exponent in the model to 5 for the largest. Multipliers are not normalized: their
mean is what the exponents make it.

Source: He, Tu, Jaiswal, Li, Yuan, Liu and Yin 2025, "AlphaDecay: Module-wise Weight Decay for
Heavy-Tailed Balancing in LLMs", arXiv 2506.14562. The range is that of the AdamW runs in the
authors' code (github.com/hed-ucas/AlphaDecay, LLaMa-pretraining/scripts/Adamw/ours), as are the
matrices that are left out: the output head and those with fewer than 50 eigenvalues. They fit the
exponent by Hill's estimator to the larger half of the eigenvalues; here it is the column `alpha`
of `mlx-probe analyze`, whose tail begins where the law fits best.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mlx_probe.compute.backends.numpy.backend import NumpyBackend
from mlx_probe.compute.spectrum import MatrixReader, singular_values
from mlx_probe.core.errors import SpectrumError
from mlx_probe.core.machine import usable_cores
from mlx_probe.metrics.heavy_tail import alpha
from mlx_probe.metrics.measurement import Measurement

if TYPE_CHECKING:
    import mlx.core as mx

__all__ = ["AlphaDecay", "decay_multipliers", "matrix_alpha"]

# Multiplier of the heaviest tail, and of the lightest.
_LEAST, _MOST = 2 / 3, 5.0

# A matrix with fewer eigenvalues has no tail to speak of.
_FEWEST = 50

# Matrices of other names are embeddings, head and norms.
_BLOCKS = "model.layers."

# As in `analyze`: the tolerance of ranks, and of zeros. No exponent depends on them.
_RANK_TOL, _ZERO = 1e-6, 1e-8


class AlphaDecay:
    """The policy "alpha": multipliers of the weight decay, anew every so many steps.

    They are a pure function of the weights: one core for each matrix, whatever the number of
    cores, and no choice that depends on the machine's measured speed. A run that is resumed
    computes the same bits.

    Args:
        every: Steps between two measurements.
    """

    def __init__(self, every: int) -> None:
        self._every = every

    def due(self, step: int) -> bool:
        """Whether the multipliers change after a step."""
        return step > 0 and step % self._every == 0

    def multipliers(self, weights: Mapping[str, mx.array]) -> dict[str, float]:
        """Multipliers of the weight decay.

        Args:
            weights: All weights by name.

        Returns:
            By the names of the blocks' matrices; 1 where there is no exponent.
        """
        matrices = {
            n: w for n, w in sorted(weights.items()) if n.startswith(_BLOCKS) and w.ndim == 2
        }
        with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(usable_cores()) as pool:
            alphas = pool.map(lambda weight: _alpha_of_large(np.array(weight)), matrices.values())
            return decay_multipliers(dict(zip(matrices, alphas, strict=True)))


def decay_multipliers(alphas: Mapping[str, float | None]) -> dict[str, float]:
    """The linear map from exponents to multipliers.

    Args:
        alphas: Exponent of each matrix; None where there is none.

    Returns:
        s1 + (s2 - s1) (alpha - min) / (max - min) with s1 = 2/3 and s2 = 5, by the same names; 1
        where there is no exponent, and for all if no two exponents differ.
    """
    known = [value for value in alphas.values() if value is not None]
    least, most = min(known, default=0.0), max(known, default=0.0)
    if least == most:
        return dict.fromkeys(alphas, 1.0)
    slope = (_MOST - _LEAST) / (most - least)
    return {
        name: 1.0 if value is None else _LEAST + slope * (value - least)
        for name, value in alphas.items()
    }


def matrix_alpha(matrix: NDArray[np.float32]) -> float | None:
    """The power-law exponent of a matrix, as in the column `alpha` of `mlx-probe analyze`.

    Args:
        matrix: Shape (rows, cols).

    Returns:
        None where it has no spectrum: an element is not finite, or there are not two different
        eigenvalues.
    """
    backend, (rows, cols), words = NumpyBackend(), matrix.shape, np.ascontiguousarray(matrix)
    chunk = backend.load(words, "F32")
    elements, gram = backend.element_pass("F32", _ZERO), backend.gram_pass(rows, cols, "F32")
    for part in backend.parts(chunk, rows, cols):
        elements.add(part)
        gram.add(part)
    moments = elements.finish()
    if moments.nan_count or moments.inf_count:
        return None

    def slabs() -> list[NDArray[Any]]:
        return [words]

    reader = MatrixReader(rows, cols, "F32", moments, slabs, gram.finish)
    try:
        spectrum = singular_values(gram.finish(), reader, _RANK_TOL)
    except SpectrumError:
        return None
    return alpha(Measurement(moments, _RANK_TOL, spectrum))


def _alpha_of_large(matrix: NDArray[np.float32]) -> float | None:
    return matrix_alpha(matrix) if min(matrix.shape) >= _FEWEST else None
