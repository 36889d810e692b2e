"""How fast a run trained, against the rate at which its device multiplies matrices."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import mlx.core as mx

from mlx_probe.runs.exporters.metrics import Values

__all__ = ["product_rate", "throughput"]

# Sides of the matrices, and how often the product is timed.
_SIDES = {mx.cpu: 768, mx.gpu: 4096}
_TIMES = 5


def product_rate(dtype: mx.Dtype) -> float:
    """Operations a second in products of square matrices on the device in use, at its best.

    Args:
        dtype: Of the matrices.
    """
    side = _SIDES[mx.default_device().type]
    matrix = mx.ones((side, side), dtype)
    mx.eval(matrix)
    best = 0.0
    for _ in range(_TIMES):
        began = time.perf_counter()
        mx.eval(matrix @ matrix)
        best = max(best, 2 * side**3 / (time.perf_counter() - began))
    return best


def throughput(lines: Iterable[Values], flops_per_token: float, dtype: mx.Dtype) -> dict[str, Any]:
    """The metadata's key "throughput".

    Args:
        lines: Of metrics.jsonl.
        flops_per_token: Operations of forward and backward pass for each token.
        dtype: What the run computed in.

    Returns:
        "tokens_per_second" of the steps alone; "flops_per_second"; "product_rate" of the device;
        "share_of_product", their quotient.
    """
    seconds, before, tokens = 0.0, 0.0, 0.0
    for values in lines:
        tokens, rate = values["tokens"] or 0, values.get("tokens_per_second")
        if rate:
            seconds += (tokens - before) / rate
        before = tokens
    speed = tokens / seconds if seconds else 0.0
    products = product_rate(dtype)
    return {
        "tokens_per_second": speed,
        "flops_per_second": speed * flops_per_token,
        "product_rate": products,
        "share_of_product": speed * flops_per_token / products,
    }
