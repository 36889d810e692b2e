"""From the kept singular values of runs to the curves of a figure."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from mlx_probe.core.errors import ConfigError
from mlx_probe.metrics.random_matrix import null_singular_values
from mlx_probe.report.bulk import bulk_noise
from mlx_probe.report.figures.points import tensor_labels
from mlx_probe.report.figures.records import Curve, Curves
from mlx_probe.report.html.spectra import plotted_ranks
from mlx_probe.report.numbers import floats
from mlx_probe.report.reliability import JUDGE
from mlx_probe.report.run_data import RunData

__all__ = ["collect_curves"]

METRIC = "singular_values"


def collect_curves(runs: Mapping[str, RunData], tensors: Sequence[str]) -> Curves:
    """The spectra of matrices at the ranks that a plot needs, with noise and fitted tail.

    The noise is that of a matrix alone: beside other spectra it would be one line too many.

    Args:
        runs: Runs by their labels.
        tensors: Names as in the table, with "[expert]" and " (part)" where it has these.

    Raises:
        ConfigError: A run has no such tensor, or kept no spectrum of it.
    """
    alone = len(runs) * len(tensors) == 1
    curves = [
        curve
        for label, data in runs.items()
        for tensor in tensors
        for curve in _curves(label, data, tensor)
        if alone or curve.kind != "noise"
    ]
    return Curves(
        runs=tuple(runs),
        metric=METRIC,
        title="Singular value",
        unit="weight",
        log=True,
        curves=tuple(curves),
    )


def _curves(label: str, data: RunData, tensor: str) -> Iterator[Curve]:
    frame, spectra = data.frame, data.spectra
    if spectra is None:
        raise ConfigError(
            f"{label} kept no singular values",
            "Analyze it with --metrics standard or full, and with --save-spectra",
        )
    labels = tensor_labels(frame)
    if tensor not in labels:
        near = difflib.get_close_matches(tensor, labels, n=3)
        near = near or [label for label in labels if tensor in label][:3]
        raise ConfigError(
            f"{label} has no tensor {tensor!r}",
            f"Did you mean {' or '.join(near)}?" if near else f"Names are like {labels[0]}",
        )
    row = labels.index(tensor)
    places = {name: at for at, name in enumerate(tensor_labels(spectra))}
    # A copy has the spectrum of the tensor with the same bytes.
    of = frame["alias_of"].iloc[row] if "alias_of" in frame else tensor
    at = places.get(tensor, places.get(of) if isinstance(of, str) else None)
    if at is None:
        raise ConfigError(
            f"{label} kept no singular values of {tensor!r}",
            "Choose a matrix: vectors, and tensors that are not finite, have none",
        )
    sigma = np.asarray(spectra["singular_values"].iloc[at], dtype=np.float64)
    ranks = plotted_ranks(len(sigma))
    whole = tuple(map(int, ranks))
    yield Curve(label, tensor, "values", whole, tuple(map(float, sigma[ranks - 1])))
    noise = bulk_noise(spectra, at, sigma)
    if noise is not None:
        rows, cols = int(spectra["rows"].iloc[at]), int(spectra["cols"].iloc[at])
        null = null_singular_values(rows, cols, noise)[ranks - 1]
        yield Curve(label, tensor, "noise", whole, tuple(map(float, null)))
    edge = _number(data, "mp_edge", row)
    if edge > 0:
        yield Curve(label, tensor, "edge", (1, len(sigma)), (edge, edge))
    yield from _tail(label, data, tensor, row)


def _tail(label: str, data: RunData, tensor: str, row: int) -> Iterator[Curve]:
    """The fitted power law: rank k of lambda is count (lambda / xmin)^(1 - alpha), a line."""
    alpha, xmin, count = (
        _number(data, name, row) for name in ("alpha", "alpha_xmin", "alpha_tail_count")
    )
    if not (alpha > 1 and xmin > 0 and count > 1):
        return
    first = math.sqrt(xmin * (1 / count) ** (1 / (1 - alpha)))
    judged = _number(data, JUDGE, row)
    reliable = None if math.isnan(judged) else judged == 1
    ends = (1, int(count)), (first, math.sqrt(xmin))
    yield Curve(label, tensor, "tail", *ends, alpha=alpha, reliable=reliable)


def _number(data: RunData, name: str, row: int) -> float:
    return float(floats(data.frame, name)[row]) if name in data.frame else math.nan
