"""Singular values over the snapshots of a training run, as many as the page has room for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mlx_probe.metrics.random_matrix import null_singular_values
from mlx_probe.report.bulk import noise_within
from mlx_probe.report.html.encoding import encode_numbers

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["BUDGET", "Measured", "encode_training_spectra", "ranks_within"]

# Values of all spectra together, in seven digits: 8 MB of base64.
BUDGET = 1_500_000
# Points of one spectrum: what a plot can show, and the fewest that show its bend.
_MOST, _FEWEST = 280, 40


class Measured(Protocol):
    """What was measured at several steps: a training run, or a series."""

    @property
    def snapshots(self) -> Mapping[int, Path]:
        """Step to the run of `analyze`."""

    def spectra(self, step: int) -> pd.DataFrame | None:
        """The singular values of a step; see `load_spectra`."""


def ranks_within(count: int, points: int) -> NDArray[np.int64]:
    """At most about so many ranks of a spectrum, spaced evenly in the logarithm from both ends.

    Args:
        count: Number of singular values.
        points: Ranks wanted; all of them where there are no more.

    Returns:
        Ascending ranks, counted from 1; the first and the last among them.
    """
    if count <= points:
        return np.arange(1, count + 1)
    top = np.geomspace(1, count, max(2, round(0.7 * points)))
    bottom = count + 1 - np.geomspace(1, count, max(2, round(0.3 * points)))
    return np.unique(np.rint(np.concatenate([top, bottom])).astype(np.int64))


def encode_training_spectra(
    run: Measured, frame: pd.DataFrame, budget: int = BUDGET
) -> dict[str, Any] | None:
    """The spectra of all snapshots in a table.

    Every matrix that is kept is there at every step, so that a slider leads through all of them:
    first the points of each spectrum are thinned, then matrices are left out, the last ones of
    the table first.

    Args:
        run: The run.
        frame: Rows of its snapshots, with step and param_name.
        budget: Values, over all spectra.

    Returns:
        As `encode_spectra` returns it, by row of ``frame``; None where no snapshot kept any.

    Raises:
        ResultError: A file is damaged.
    """
    row_of = {
        key: row for row, key in enumerate(zip(frame["step"], frame["param_name"], strict=True))
    }
    steps = [int(step) for step in frame["step"].unique() if step in run.snapshots]
    last = run.spectra(steps[-1]) if steps else None
    if last is None:
        return None
    lengths = [len(values) for values in last["singular_values"]]
    points = _points(lengths, budget // max(1, len(steps)))
    kept_names = _kept(last["param_name"].tolist(), lengths, points, budget // len(steps))
    nulls: dict[str, Any] = {}
    of: dict[str, Any] = {}
    ranks: dict[str, list[int]] = {}
    total = 0
    for step in steps:
        spectra = last if step == steps[-1] else run.spectra(step)
        if spectra is None:
            continue
        total += len(spectra)
        columns = ("param_name", "rows", "cols", "spectrum_error", "singular_values")
        for name, rows, cols, error, values in zip(
            *(spectra[c].tolist() for c in columns), strict=True
        ):
            row = row_of.get((step, name))
            sigma = np.asarray(values, np.float64)
            if row is None or name not in kept_names or not len(sigma):
                continue
            at_ranks = ranks_within(len(sigma), points)
            ranks[str(len(sigma))] = at_ranks.tolist()
            shape, noise = f"{rows} x {cols}", noise_within(sigma, rows, cols, error)
            if noise is not None and shape not in nulls:
                nulls[shape] = encode_numbers(null_singular_values(rows, cols, 1.0)[at_ranks - 1])
            of[str(row)] = {
                "count": len(sigma),
                "shape": shape,
                "noise": noise,
                **encode_numbers(sigma[at_ranks - 1]),
            }
    if not of:
        return None
    return {"total": total, "kept": len(of), "ranks": ranks, "nulls": nulls, "copies": {}, "of": of}


def _points(lengths: Sequence[int], room: int) -> int:
    """Points of each spectrum so that those of one snapshot fit."""
    for points in (_MOST, 200, 140, 100, 70, 50, _FEWEST):
        if sum(min(length, points) for length in lengths) <= room:
            return points
    return _FEWEST


def _kept(names: Sequence[str], lengths: Sequence[int], points: int, room: int) -> set[str]:
    kept = set()
    for name, length in zip(names, lengths, strict=True):
        room -= min(length, points)
        if room < 0:
            break
        kept.add(name)
    return kept
