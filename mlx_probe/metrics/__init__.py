"""Metrics: columns derived from moments and singular values by pure functions.

`FAMILIES` is the table, in the order of the columns, and `METRICS` all of their metrics. A new
metric is a function and a line in its family; a new family is a module and a line here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from mlx_probe.core.records import MetricLevel
from mlx_probe.metrics.channels import CHANNELS
from mlx_probe.metrics.heavy_tail import HEAVY_TAIL
from mlx_probe.metrics.measurement import BEYOND_RANGE, Measurement, Metric, MetricFamily
from mlx_probe.metrics.moments import MOMENTS
from mlx_probe.metrics.quantization import QUANTIZATION
from mlx_probe.metrics.random_matrix import RANDOM_MATRIX
from mlx_probe.metrics.spectrum import SPECTRUM

__all__ = [
    "BEYOND_RANGE",
    "FAMILIES",
    "METRICS",
    "Measurement",
    "Metric",
    "MetricFamily",
    "compute_metrics",
    "metrics_of_level",
]

FAMILIES: tuple[MetricFamily, ...] = (
    MOMENTS,
    SPECTRUM,
    HEAVY_TAIL,
    RANDOM_MATRIX,
    QUANTIZATION,
    CHANNELS,
)

METRICS: tuple[Metric, ...] = tuple(metric for family in FAMILIES for metric in family.metrics)


@lru_cache
def metrics_of_level(level: MetricLevel) -> tuple[Metric, ...]:
    """The metrics that a set includes, in the order of `METRICS`."""
    return tuple(metric for metric in METRICS if metric.is_in(level))


def compute_metrics(measurement: Measurement, level: MetricLevel) -> dict[str, Any]:
    """Values of every metric of a set, by name; None where one is not defined."""
    return {name: compute(measurement) for name, compute in _functions(level)}


@lru_cache
def _functions(level: MetricLevel) -> tuple[tuple[str, Callable[[Measurement], Any]], ...]:
    """Names and functions of a set: looking them up takes as long as a small tensor's metrics."""
    return tuple((metric.name, metric.compute) for metric in metrics_of_level(level))
