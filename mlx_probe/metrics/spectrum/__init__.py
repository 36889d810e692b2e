"""Ranks, norms and entropies from the singular values of a matrix.

sigma are the singular values, lambda = sigma^2, M = min(rows, cols), N = max(rows, cols). A
metric is None for tensors without a spectrum, if a zero matrix makes it 0/0, and if a method
that does not compute all singular values does not give it.
"""

from __future__ import annotations

from mlx_probe.metrics.measurement import MetricFamily
from mlx_probe.metrics.spectrum.evenness import EVENNESS
from mlx_probe.metrics.spectrum.norms import NORMS
from mlx_probe.metrics.spectrum.ranks import RANKS

__all__ = ["SPECTRUM"]

SPECTRUM = MetricFamily(
    "spectrum",
    "Spectrum",
    "How many directions does a matrix use, and how evenly?",
    (*RANKS, *NORMS, *EVENNESS),
    source="Roy and Vetterli 2007 (effective rank)",
)
