"""How fast this machine reads weights while it makes a token, measured for each width.

A token is made by products of matrices with one vector: each weight is read once and used once,
so memory sets the speed, or, where unpacking is slow, arithmetic does. Both are in the time of
such a product. Williams, Waterman and Patterson 2009, "Roofline".
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import mlx.core as mx

from mlx_probe.compute.backends.quantization import GROUP_SIZE

__all__ = ["Rates", "assumed_rates", "measure_rates"]

# Rows and columns of the matrix that is read: as a float32 matrix 256 MB on a CPU, as a matrix of
# 16 bits 512 MB on a GPU, more than their caches hold. One of 64 MB was read half as fast again.
_SIDES = {"cpu": (8192, 8192), "gpu": (16384, 16384)}
# The side of the products whose bytes do not count, and how many are timed together.
_SMALL, _CHAIN = GROUP_SIZE, 200
_REPEATS = 5


@dataclass(frozen=True)
class Rates:
    """What reading costs.

    Attributes:
        bandwidth: Bytes a second, by bits of a weight; 16 stands for weights that are not
            quantized.
        product_seconds: Time of a product, whatever its size.
        measured: Whether this machine was measured; False where the user named a bandwidth.
    """

    bandwidth: Mapping[int, float]
    product_seconds: float
    measured: bool


def assumed_rates(bandwidth: float, widths: Sequence[int]) -> Rates:
    """Those of a memory that is read at its full speed: no machine is faster.

    Args:
        bandwidth: Bytes a second.
        widths: Bits of a weight.
    """
    return Rates(dict.fromkeys((*widths, 16), bandwidth), 0.0, measured=False)


def measure_rates(widths: Sequence[int], dtype: mx.Dtype) -> Rates:
    """Time products with one vector on the device that MLX computes on, a few seconds.

    Args:
        widths: Bits of a weight; those below 16 that `mlx.core.quantize` knows.
        dtype: Of vectors and of what is not quantized.
    """
    gpu = mx.default_device().type == mx.gpu
    rows, cols = _SIDES["gpu" if gpu else "cpu"]
    key = mx.random.key(0)
    # The times do not depend on the values.
    matrix = mx.random.uniform(shape=(rows, cols), key=key).astype(dtype)
    vector = mx.random.uniform(shape=(1, cols), key=key).astype(dtype)
    mx.eval(matrix, vector)
    bandwidth = {16: matrix.nbytes / _fastest(lambda: vector @ matrix.T)}
    for bits in widths:
        if bits < 16:
            packed = mx.quantize(matrix, group_size=GROUP_SIZE, bits=bits)
            mx.eval(*packed)
            seconds = _fastest(lambda packed=packed, bits=bits: _product(vector, packed, bits))  # type: ignore[misc]
            bandwidth[bits] = sum(part.nbytes for part in packed) / seconds
    small = mx.eye(_SMALL, dtype=dtype)
    mx.eval(small)
    return Rates(bandwidth, _fastest(lambda: _chain(vector[:, :_SMALL], small)) / _CHAIN, True)


def _product(vector: mx.array, packed: Sequence[mx.array], bits: int) -> mx.array:
    weight, scales, biases = packed
    return mx.quantized_matmul(
        vector, weight, scales, biases, transpose=True, group_size=GROUP_SIZE, bits=bits
    )


def _chain(vector: mx.array, small: mx.array) -> mx.array:
    for _ in range(_CHAIN):
        vector = vector @ small
    return vector


def _fastest(make: Callable[[], mx.array]) -> float:
    seconds = []
    for _ in range(_REPEATS):
        began = time.perf_counter()
        mx.eval(make())
        seconds.append(time.perf_counter() - began)
    return min(seconds)
