"""How fast a run trained, against the rate at which its device multiplies matrices."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mlx_probe.runs.exporters.metrics import Values

__all__ = ["throughput"]


def throughput(
    lines: Iterable[Values], flops_per_token: float, product_rate: float
) -> dict[str, Any]:
    """The metadata's key "throughput".

    Args:
        lines: Of metrics.jsonl.
        flops_per_token: Operations of forward and backward pass for each token.
        product_rate: Operations a second in products of the model's sizes.

    Returns:
        "tokens_per_second" of the steps alone; "flops_per_second"; "product_rate";
        "share_of_product", their quotient.
    """
    seconds, before, tokens = 0.0, 0.0, 0.0
    for values in lines:
        tokens, rate = values["tokens"] or 0, values.get("tokens_per_second")
        if rate:
            seconds += (tokens - before) / rate
        before = tokens
    speed = tokens / seconds if seconds else 0.0
    return {
        "tokens_per_second": speed,
        "flops_per_second": speed * flops_per_token,
        "product_rate": product_rate,
        "share_of_product": speed * flops_per_token / product_rate,
    }
