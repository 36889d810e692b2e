"""The error of MLX's quantizations: of the numbers that `mlx.core.quantize` makes.

Not of ideal rounding. For weights of 16 bits MLX computes codes in 16 bits on a CPU: the squared
error of 8 bits is nearly twice that of rounding in float32. Metal's kernels round in float32. So
what is predicted belongs to the device, and an export computes on the same one.

The numbers are codes x scale + bias in float32, as the files hold them: `mlx.core.dequantize`
would round them once more to the type of the scale.
"""

from __future__ import annotations

from collections.abc import Sequence

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from mlx_probe.compute.backends.mlx.digits import scaled
from mlx_probe.compute.backends.mlx.sums import partial_sums, total
from mlx_probe.compute.backends.quantization import affine_grid, to_grid_in_place
from mlx_probe.lab.budget.records import Way

__all__ = ["rounded", "squared_error", "squared_errors"]

# Elements that numpy rounds at a time: they stay in the cache.
_STRIP = 1 << 16


def squared_errors(
    source: mx.array, values: mx.array, exact: NDArray[np.float64], ways: Sequence[Way]
) -> dict[Way, float]:
    """The squared error of each quantization of some rows.

    Args:
        source: The rows in the type that is quantized, shape (rows, cols).
        values: What the error is measured from, float32.
        exact: The same on the host.
        ways: All of them fit the columns.
    """
    errors: dict[Way, float] = {}
    fast: list[Way] = []
    if source.dtype == mx.float32 and mx.default_device().type == mx.cpu:
        # The same numbers, in a fifth of the time.
        fast = [way for way in ways if way.mode == "affine"]
        errors |= _on_host(np.array(source), exact, fast)
    for way in ways:
        if way not in errors:
            errors[way] = squared_error(rounded(source, way), values, exact)
    return errors


def rounded(source: mx.array, way: Way) -> mx.array:
    """The numbers of a quantization.

    Args:
        source: Shape (rows, cols), of a floating type.
        way: The quantization.

    Returns:
        float32, the same shape.
    """
    words, scales, *biases = mx.quantize(source, **way.settings())
    affine = way.mode == "affine"
    return mx.dequantize(
        words,
        scales.astype(mx.float32) if affine else scales,
        biases[0].astype(mx.float32) if affine else None,
        **way.settings(),
        dtype=mx.float32,
    )


def squared_error(changed: mx.array, values: mx.array, exact: NDArray[np.float64]) -> float:
    """Sum of squares of a difference, in float64.

    Args:
        changed: float32.
        values: float32, the same shape.
        exact: ``values`` on the host.
    """
    if mx.default_device().type == mx.cpu:
        difference = np.array(changed).astype(np.float64)
        difference -= exact
        return float(np.vdot(difference, difference))
    difference_there = (changed - values).reshape(-1)
    # Scaled by a power of two, so that float32 squares neither overflow nor underflow.
    exponent = int(np.frexp(mx.abs(difference_there).max().item())[1])
    squares = partial_sums(mx.square(scaled(difference_there, -exponent)))
    return float(np.ldexp(total(squares), 2 * exponent))


def _on_host(
    source: NDArray[np.float32], exact: NDArray[np.float64], ways: Sequence[Way]
) -> dict[Way, float]:
    """The errors of affine quantizations of float32, by numpy."""
    errors = dict.fromkeys(ways, 0.0)
    height = max(1, _STRIP // source.shape[1])
    for top in range(0, len(source), height):
        strip = source[top : top + height].reshape(-1)
        original = exact[top : top + height].reshape(-1)
        for group in {way.group for way in ways}:
            starts = np.arange(0, strip.size, group)
            groups = strip.reshape(-1, group)
            low = np.minimum.reduceat(strip, starts)[:, None]
            high = np.maximum.reduceat(strip, starts)[:, None]
            out = np.empty_like(groups)
            for way in ways:
                if way.group != group:
                    continue
                scale, bias = affine_grid(np, low, high, way.bits, None)
                to_grid_in_place(groups, scale, bias, way.bits, out)
                difference = original - out.reshape(-1)
                errors[way] += float(np.dot(difference, difference))
    return errors
