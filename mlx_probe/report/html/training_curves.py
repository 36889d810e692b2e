"""The curves of a training run: every step of a short run, an envelope of a long one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.report.html.encoding import encode_numbers
from mlx_probe.report.training_series import EVALUATED, OF_STEPS, envelope, evaluations

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MOST_POINTS", "encode_curves"]

# Points of one curve; a wide screen has no more pixels.
MOST_POINTS = 2000


def encode_curves(metrics: pd.DataFrame, points: int = MOST_POINTS) -> dict[str, Any]:
    """The metrics of a run for the page.

    Args:
        metrics: As of `TrainingRun`.
        points: Points of one curve, at most.

    Returns:
        "each": steps behind one point. "steps": where the points of steps are, and "evaluations":
        where those of evaluations are, each as "step", "tokens", "seconds" and the curves, as in
        `encode_numbers`; a curve of steps has "mean" and, where a point is several steps, "low"
        and "high".
    """
    trained = metrics[metrics["step"] > 0]
    each = max(1, math.ceil(len(trained) / points))
    places = {name: _places(trained[name].to_numpy(float), each) for name in _axes(trained)}
    curves: dict[str, Any] = {}
    for name in OF_STEPS:
        if name not in trained or trained[name].isna().all():
            continue
        parts = envelope(trained[name].to_numpy(float), points)
        kept = parts if each > 1 else {"mean": parts["mean"]}
        curves[name] = {part: encode_numbers(of) for part, of in kept.items()}
    known = [name for name in EVALUATED if name in metrics]
    evaluated = evaluations(metrics)
    # The last evaluation is always there.
    thinned = evaluated.iloc[_spread(len(evaluated), points)]
    return {
        "each": each,
        "steps": {name: encode_numbers(of) for name, of in places.items()},
        "curves": curves,
        "evaluations": {
            name: encode_numbers(thinned[name].to_numpy(float), exact=True)
            for name in (*_axes(thinned), *known)
        },
        "left_out": len(evaluated) - len(thinned),
    }


def _axes(frame: pd.DataFrame) -> list[str]:
    return [name for name in ("step", "tokens", "seconds") if frame[name].notna().any()]


def _places(values: NDArray[np.float64], each: int) -> NDArray[np.float64]:
    """The last value of each stretch: a point stands where its steps are done."""
    ends = np.minimum(np.arange(each - 1, len(values) + each - 1, each), len(values) - 1)
    return values[ends]


def _spread(count: int, most: int) -> NDArray[np.int64]:
    """At most so many numbers below ``count``, evenly spread, the first and the last among them."""
    if count <= most:
        return np.arange(count)
    return np.unique(np.rint(np.linspace(0, count - 1, most)).astype(np.int64))
