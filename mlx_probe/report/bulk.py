"""The noise in a matrix, from the bulk of its singular values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mlx_probe.metrics.random_matrix import noise_level

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["bulk_noise", "noise_within"]


def bulk_noise(spectra: pd.DataFrame, at: int, sigma: NDArray[np.float64]) -> float | None:
    """Standard deviation of the noise that explains the bulk of a spectrum.

    Args:
        spectra: As `load_spectra` returns them.
        at: Position of the matrix in it.
        sigma: Its singular values.

    Returns:
        None where the bulk is not known: the leading values of a preview have none, and a bulk
        below the method's error is not a measured one.
    """
    rows, cols = int(spectra["rows"].iloc[at]), int(spectra["cols"].iloc[at])
    return noise_within(sigma, rows, cols, float(spectra["spectrum_error"].iloc[at]))


def noise_within(sigma: NDArray[np.float64], rows: int, cols: int, stated: float) -> float | None:
    """The same of one matrix.

    Args:
        sigma: Its singular values.
        rows: Its rows.
        cols: Its columns.
        stated: Error of the method, as a share of the largest value; NaN for none.
    """
    error = 0.0 if np.isnan(stated) else stated
    if len(sigma) != min(rows, cols) or not np.median(sigma) > error * sigma[0]:
        return None
    return noise_level(sigma, rows, cols)
