"""A weight before and after an adapter, without forming the product of the factors.

LoRA: W' = W + L R, scale included (Hu et al. 2021, arXiv 2106.09685). DoRA: row i of W' is
m_i (W + L R)_i / ||(W + L R)_i|| (Liu et al. 2024, arXiv 2402.09353; both PEFT and mlx-lm take the
norms of rows).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mlx_probe.analysis.compare.blocks import Floats, WeightReader, whole
from mlx_probe.checkpoint import Weight
from mlx_probe.compute.spectrum import zero_spectrum
from mlx_probe.compute.spectrum.bounds import direct_error
from mlx_probe.core.errors import SpectrumError
from mlx_probe.core.records import Spectrum
from mlx_probe.runs.monitor import UsageMeter

__all__ = ["Adapted", "Factors", "Product", "product_flops", "product_spectrum"]


@dataclass(frozen=True)
class Product:
    """The difference that a LoRA makes, as two factors in float64.

    Attributes:
        left: L with the scale, shape (rows, rank).
        right: R, shape (rank, cols).
    """

    left: Floats
    right: Floats

    @property
    def is_finite(self) -> bool:
        """Whether no factor holds a NaN or an infinity."""
        return bool(np.isfinite(self.left).all() and np.isfinite(self.right).all())


@dataclass(frozen=True)
class Factors:
    """What an adapter stores for one module.

    Attributes:
        left: Weight that stores L.
        right: Weight that stores R.
        scale: Factor of the product.
        left_transposed: Whether L is stored transposed.
        right_transposed: Whether R is stored transposed.
        magnitude: DoRA's norms of the rows; None for LoRA.
    """

    left: Weight
    right: Weight
    scale: float
    left_transposed: bool
    right_transposed: bool
    magnitude: Weight | None = None

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Rows of L, columns of L, rows of R and columns of R."""
        left, right = self.left.extents, self.right.extents
        if self.left_transposed:
            left = left[::-1]
        if self.right_transposed:
            right = right[::-1]
        return (*left, *right)

    @property
    def nbytes(self) -> int:
        """Bytes of both in float64, with the copies that a QR makes."""
        return 4 * 8 * (self.left.numel + self.right.numel)

    def read(self, meter: UsageMeter) -> Product:
        """Read the factors.

        Args:
            meter: Counts what is read.

        Raises:
            CheckpointError: The file is closed, gone or changed.
        """
        left, right = whole(self.left, meter), whole(self.right, meter)
        left = left.T if self.left_transposed else left
        right = right.T if self.right_transposed else right
        return Product(left * self.scale, np.ascontiguousarray(right))


@dataclass(frozen=True)
class Adapted:
    """Reads a base side by side with the same base plus an adapter.

    Attributes:
        a: The base.
        product: The difference before DoRA's norms.
        magnitude: DoRA's norms, shape (rows,); None for LoRA.
    """

    a: WeightReader
    product: Product
    magnitude: Floats | None = None

    def blocks(self) -> Iterator[tuple[Floats, Floats]]:
        """Blocks of A, and of A with the adapter; the product is formed block by block."""
        tall, magnitude = self.a.weight.tall, self.magnitude
        # A line of a wide matrix is a column: the norms of its rows are known only at the end.
        gains = None if magnitude is None or tall else _divided(magnitude, self._row_norms())
        first = 0
        for x, sums in self._sums():
            if magnitude is not None and tall:
                norms = np.sqrt(np.square(sums).sum(axis=1))
                sums *= _divided(magnitude[first : first + len(x)], norms)[:, None]
            elif gains is not None:
                sums *= gains
            first += len(x)
            yield x, sums

    def _sums(self) -> Iterator[tuple[Floats, Floats]]:
        """Blocks of A and of A + L R."""
        left, right = self.product.left, self.product.right
        along, across = (left, right) if self.a.weight.tall else (right.T, left.T)
        first = 0
        for x in self.a.lines():
            yield x, x + along[first : first + len(x)] @ across
            first += len(x)

    def _row_norms(self) -> Floats:
        energy = np.zeros(len(self.product.left))
        for _, sums in self._sums():
            energy += np.square(sums).sum(axis=0)
        return np.sqrt(energy)


def product_flops(rows: int, cols: int, rank: int) -> float:
    """Floating-point operations of `product_spectrum`: two QR factorizations, and one SVD."""
    return 2.0 * rank**2 * (rows + cols) + 14 / 3 * rank**3


def _divided(magnitude: Floats, norms: Floats) -> Floats:
    """DoRA's gains; NaN for a row of zeros, whose direction is not defined."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(magnitude / np.where(norms == 0, np.nan, norms))


def product_spectrum(product: Product) -> Spectrum:
    """Singular values of L R from the QR factors of both: those of R_L R_R.T, of the rank's order.

    L = Q_L R_L and R.T = Q_R R_R give L R = Q_L (R_L R_R.T) Q_R.T with orthonormal outer factors.
    Each step is backward stable, relative to ||L|| ||R||, which may exceed sigma_1; the error
    bound says by how much.

    Args:
        product: The factors, finite.

    Returns:
        All min(rows, cols) singular values; those beyond the factors' rank are exactly 0.

    Raises:
        SpectrumError: The SVD did not converge, or the product overflows.
    """
    rows, cols = len(product.left), product.right.shape[1]
    try:
        core_left = np.asarray(np.linalg.qr(product.left, mode="r"))
        core_right = np.asarray(np.linalg.qr(product.right.T, mode="r"))
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            core = core_left @ core_right.T
        if not core.any():
            return zero_spectrum(rows, cols)
        sigma = np.linalg.svd(core, compute_uv=False)
    except np.linalg.LinAlgError as error:
        raise SpectrumError(
            "LAPACK gesdd did not converge", "Report the tensor; its other columns are valid"
        ) from error
    values = np.zeros(min(rows, cols))
    values[: len(sigma)] = sigma
    growth = float(np.linalg.norm(core_left, 2) * np.linalg.norm(core_right, 2) / sigma[0])
    return Spectrum(values, rows, cols, "qr_product_f64", direct_error(rows, cols) * growth)
