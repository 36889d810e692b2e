"""Which rows are the weights of norms."""

from __future__ import annotations

import numpy as np

from mlx_probe.analysis.findings.view import Mask, RunView

__all__ = ["norm_weights"]


def norm_weights(view: RunView) -> Mask:
    """Weights of norms, without their biases and without norms of one channel.

    Args:
        view: The run. Copies count: constant norms are copies of each other.
    """
    kinds = np.array([kind == "norm" for kind in view.texts("block_type")], bool)
    wholes = np.array([part is None for part in view.texts("part")], bool)
    finite = np.isfinite(view.numbers("mean")) & (view.numbers("numel") > 1)
    weights: Mask = kinds & wholes & ~view.is_bias & np.isnan(view.short) & finite
    return weights
