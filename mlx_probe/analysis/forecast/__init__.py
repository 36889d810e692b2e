"""Before an analysis: what it will fetch, read, compute and write, and whether it fits.

The plan decides what is done; a forecast says what that will cost on this machine.
"""

from __future__ import annotations

from mlx_probe.analysis.forecast.forecast import Forecast, StageEstimate, Step, forecast
from mlx_probe.analysis.forecast.inference import CONTEXTS, STORED, WIDTHS, Inference

__all__ = [
    "CONTEXTS",
    "STORED",
    "WIDTHS",
    "Forecast",
    "Inference",
    "StageEstimate",
    "Step",
    "forecast",
]
