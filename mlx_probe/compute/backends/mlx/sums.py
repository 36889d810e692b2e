"""Float32 sums that end in float64.

A float32 sum over millions of elements loses small terms. The device makes only short sums, and
the host adds them up.
"""

from __future__ import annotations

import mlx.core as mx
import numpy as np

__all__ = ["PARTIAL", "partial_sums", "rough_sum", "total"]

# Float32 partial sums run over this many elements and are combined in float64.
PARTIAL = 64


def partial_sums(x: mx.array) -> mx.array:
    """Sums of consecutive `PARTIAL` elements of a vector; the last one may be shorter."""
    whole = x.size // PARTIAL * PARTIAL
    parts = [x[:whole].reshape(-1, PARTIAL).sum(axis=1), x[whole:].sum(keepdims=True)]
    return mx.concatenate(parts)


def total(parts: mx.array) -> float:
    """Float64 sum of partial sums, on the host."""
    return float(np.sum(np.array(parts), dtype=np.float64))


def rough_sum(x: mx.array) -> mx.array:
    """Sum of a vector on the device, in float32: partial sums of partial sums."""
    while x.size > PARTIAL:
        x = partial_sums(x)
    return x.sum()
