"""exp for CPUs on which MLX computes it one number at a time."""

from __future__ import annotations

import platform
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, cast

import mlx.core as mx

__all__ = [
    "HIGHEST",
    "LOWEST",
    "exponential",
    "fused",
    "has_slow_exponential",
    "uses_exponential",
]

# Arguments are clipped to these, so that every result is a normal float32 number. A result that is
# not takes a hundred times longer on many CPUs.
LOWEST, HIGHEST = -87.0, 87.0

# log2(e), and ln(2) in two parts: a multiple of the first by a small integer is exact.
LOG2_E = 1.4426950408889634
LN2_HIGH, LN2_LOW = 0.693359375, -2.12194440e-4
# Adding and subtracting 1.5 * 2^23 rounds a float32 number to the nearest integer.
ROUND = 12582912.0
# The bits of float32's exponent field begin at 23, and hold the exponent plus 127.
FIELD, BIAS = 8388608.0, 127.0

_is_traced = ContextVar("_is_traced", default=False)


def has_slow_exponential() -> bool:
    """Whether MLX's own exp is many times slower here than `exponential`.

    MLX has vector code for ARM and for GPUs. On an x86 CPU its exp emulates seven fused
    multiplications and additions for each number: 16 ns, and 3 to 5 ns in `exponential`.
    """
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    return x86 and mx.default_device().type == mx.cpu


def uses_exponential() -> bool:
    """Whether `exponential` is faster than MLX's own here and now.

    Only within `fused`: its twenty operations gain nothing before they are fused into few
    passes, and a run that does without a C++ compiler must not call one.
    """
    return _is_traced.get() and has_slow_exponential()


def fused(function: Callable[..., Any], inputs: Any = None, outputs: Any = None) -> Any:
    """`mx.compile`, with `exponential` where MLX's own is slow.

    Args:
        function: See `mx.compile`.
        inputs: See `mx.compile`.
        outputs: See `mx.compile`.
    """

    def traced(*arguments: Any) -> Any:
        token = _is_traced.set(True)
        try:
            return function(*arguments)
        finally:
            _is_traced.reset(token)

    return mx.compile(traced, inputs, outputs)


def exponential(x: mx.array) -> mx.array:
    r"""e^x within 1.2e-7 of it (two roundings), of float32 numbers between -87 and 87.

    With k the integer nearest to x / ln 2, e^x = 2^k e^r with r = x - k ln 2, |r| <= ln(2) / 2.
    e^r is a polynomial of degree 7 with the coefficients of Moshier's Cephes library (`expf`),
    and 2^k is made by its bits. Cody and Waite 1980, "Software manual for the elementary
    functions", chapter 6. All operations are such that `mx.compile` fuses them and a C++
    compiler makes vector code of them. Numbers outside are clipped; NaN stays NaN.

    Args:
        x: Float32, any shape.
    """
    return cast(mx.array, _differentiable(x))


@mx.custom_function
def _differentiable(x: mx.array) -> mx.array:
    return _polynomial(x)


@_differentiable.vjp
def _gradient(x: mx.array, cotangent: mx.array, y: mx.array) -> mx.array:
    return cotangent * y


def _polynomial(x: mx.array) -> mx.array:
    x = mx.clip(x, LOWEST, HIGHEST)
    k = (x * LOG2_E + ROUND) - ROUND
    # Whole multiples of 2^23 below 2^31: exact in float32.
    bits = ((k + BIAS) * FIELD).astype(mx.int32)
    power = bits.view(mx.float32)
    # k again, from the bits: MLX fuses no operations across an array with two readers.
    k = bits.astype(mx.float32) * (1 / FIELD) - BIAS
    r = (x - k * LN2_HIGH) - k * LN2_LOW
    square = r * r
    low = 5.0000001201e-1 + 1.6666665459e-1 * r
    middle = 4.1665795894e-2 + 8.3334519073e-3 * r
    high = 1.3981999507e-3 + 1.9875691500e-4 * r
    return ((1.0 + r) + square * (low + square * (middle + square * high))) * power
