"""How far the spectrum of a matrix is from that at the end of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mlx_probe.core.records import Column

if TYPE_CHECKING:
    from mlx_probe.runs.training.run import TrainingRun

__all__ = ["CHANGE", "LIMIT", "settled_at", "spectral_changes"]

# A spectrum that is this close to the last one has stopped changing.
LIMIT = 0.01

CHANGE = Column(
    "spectral_change",
    "float64",
    "training",
    "Distance of the singular values from those of the last snapshot, as a share of their norm.",
    lower=0.0,
    title="Spectral change to come",
    plain=(
        "How much the spectrum still changes until the end of training; 0 is not at all. The "
        "weights change by at least as much."
    ),
    caveat="A matrix can change without its singular values: a rotation leaves them alone.",
    source="Mirsky 1960",
    formula="|sigma(t) - sigma(T)|_2 / |sigma(T)|_2",
)


def spectral_changes(run: TrainingRun, steps: Sequence[int]) -> Mapping[str, NDArray[np.float64]]:
    """The column `CHANGE` for each matrix.

    By Mirsky's inequality the Euclidean distance of two matrices' singular values is at most the
    Frobenius distance of the matrices: a spectrum that moves proves that the weights move, by at
    least as much (L. Mirsky 1960, "Symmetric gauge functions and unitarily invariant norms").

    Args:
        run: A training run.
        steps: Steps of snapshots, ascending.

    Returns:
        For each name a value for each step, NaN where it has no spectrum;
        nothing for matrices without a spectrum in the last snapshot, or one that is not complete
        (an approximate method gives the leading values only).

    Raises:
        ResultError: A file is damaged.
    """
    last = _complete(run, steps[-1]) if steps else {}
    changes = {name: np.full(len(steps), np.nan) for name in last}
    for at, step in enumerate(steps):
        for name, sigma in (last if step == steps[-1] else _complete(run, step)).items():
            final = last.get(name)
            if final is None or len(final) != len(sigma):
                continue
            norm = float(np.linalg.norm(final))
            distance = float(np.linalg.norm(sigma - final))
            # A matrix of zeros is no distance from itself, and infinitely far from others.
            changes[name][at] = distance / norm if norm else (np.inf if distance else 0.0)
    return changes


def settled_at(changes: NDArray[np.float64], steps: Sequence[int]) -> int | None:
    """The snapshot after which a spectrum did not change any more.

    Args:
        changes: Values of the column `CHANGE`, one for each step.
        steps: The steps, ascending.

    Returns:
        The first step from which on all values are at most `LIMIT`; None if that is the last one,
        which has no distance from itself, or a value is not known.
    """
    if np.isnan(changes).any():
        return None
    beyond = np.flatnonzero(changes > LIMIT)
    first = int(beyond[-1]) + 1 if len(beyond) else 0
    return steps[first] if first < len(steps) - 1 else None


def _complete(run: TrainingRun, step: int) -> dict[str, NDArray[np.float64]]:
    """The whole spectra of a snapshot by the names of their matrices."""
    # The table over time outlives snapshots that somebody removed.
    frame = run.spectra(step) if step in run.snapshots else None
    if frame is None:
        return {}
    kept = zip(
        frame["param_name"], frame["rows"], frame["cols"], frame["singular_values"], strict=True
    )
    return {
        str(name): np.asarray(sigma, np.float64)
        for name, rows, cols, sigma in kept
        if len(sigma) == min(rows, cols)
    }
