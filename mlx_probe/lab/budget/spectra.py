"""Singular values of a finished analysis, in the place of new ones."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.budget.measure import tails_of
from mlx_probe.lab.budget.records import Matrix
from mlx_probe.runs.load_side import load_spectra

__all__ = ["belongs", "known_tails"]

# Relative difference of two squared norms of one matrix: of sums in float64, by two ways.
_SAME = 1e-6


def known_tails(
    run: str | os.PathLike[str], matrices: Sequence[Matrix]
) -> Mapping[str, NDArray[np.float64]]:
    """The tails of `Curve` by the names of matrices that a run has all singular values of.

    Args:
        run: A finished run of `analyze`.
        matrices: Those of the model. One is the run's if name and shape are; see `belongs`.

    Raises:
        ConfigError: It has those of none.
        ResultError: There is no finished run, or its files are damaged.
    """
    spectra = load_spectra(run)
    wanted = {matrix.name: matrix.extents for matrix in matrices if matrix.cut}
    found = {}
    if spectra is not None:
        columns = (spectra[name].tolist() for name in ("param_name", "rows", "cols"))
        for place, (name, *shape) in enumerate(zip(*columns, strict=True)):
            sigma = np.asarray(spectra["singular_values"].iloc[place], np.float64)
            # An approximate method kept the leading values only.
            if wanted.get(name) == tuple(shape) and len(sigma) == min(shape):
                found[name] = tails_of(sigma)
    if not found:
        raise ConfigError(
            f"{run} has the singular values of no matrix of this model",
            "Give a run of `analyze` on this model that kept them, or leave --run out",
        )
    return found


def belongs(tails: NDArray[np.float64], energy: float) -> bool:
    """Whether the squares of singular values add up to the squared norm of a matrix."""
    return bool(abs(float(tails[0]) - energy) <= _SAME * energy)
