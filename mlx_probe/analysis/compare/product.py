"""Singular values of a product of two small factors, without forming it."""

from __future__ import annotations

import numpy as np

from mlx_probe.checkpoint.adapters.protocol import Product
from mlx_probe.compute.spectrum import zero_spectrum
from mlx_probe.compute.spectrum.bounds import direct_error
from mlx_probe.core.errors import SpectrumError
from mlx_probe.core.records import Spectrum

__all__ = ["product_flops", "product_spectrum"]


def product_flops(rows: int, cols: int, rank: int) -> float:
    """Floating-point operations of `product_spectrum`: two QR factorizations, and one SVD."""
    return 2.0 * rank**2 * (rows + cols) + 14 / 3 * rank**3


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
