"""Channels that carry nothing: rows (outputs) and columns (inputs) of a matrix.

Of the matrix of an MLP a dead row is a dead neuron, of an embedding a token without a vector. The
threshold is relative, because what decays towards 0 seldom reaches it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mlx_probe.core.column_texts import HERE
from mlx_probe.core.median import median
from mlx_probe.metrics.measurement import Measurement, Metric, MetricFamily

__all__ = ["CHANNELS", "DEAD_SHARE"]

# Largest magnitude, as a share of the median channel's, up to which a channel is dead.
DEAD_SHARE = 0.01


def _dead(largest: NDArray[np.float64]) -> int:
    # Not `<`, or a matrix of which most channels are 0 has no dead one.
    return int(np.count_nonzero(largest <= DEAD_SHARE * median(largest)))


def dead_rows(m: Measurement) -> int | None:
    """Rows (output channels) with max |x| of at most 1 % of the median row's."""
    return None if m.quantization is None else _dead(m.quantization.row_max)


def dead_columns(m: Measurement) -> int | None:
    """Columns (input channels) with max |x| of at most 1 % of the median column's."""
    return None if m.quantization is None else _dead(m.quantization.col_max)


CHANNELS = MetricFamily(
    "channels",
    "Channels",
    "Which rows and columns carry nothing?",
    (
        Metric(
            dead_rows,
            type="int64",
            level="full",
            lower=0,
            title="Dead rows",
            plain="How many outputs of the matrix are practically switched off.",
            typical="0 in most matrices, more in embeddings with unused tokens; {measured}.",
            caveat="Rows that pad a matrix to a round size are dead as well.",
            source=HERE,
            formula="#{rows with max |x| <= 0.01 median over the rows of max |x|}",
        ),
        Metric(
            dead_columns,
            type="int64",
            level="full",
            lower=0,
            title="Dead columns",
            plain="How many inputs of the matrix it practically ignores.",
            typical="0 in most matrices, more after structured pruning; {measured}.",
            caveat="Columns that pad a matrix to a round size are dead as well.",
            source=HERE,
            formula="#{columns with max |x| <= 0.01 median over the columns of max |x|}",
        ),
    ),
)
