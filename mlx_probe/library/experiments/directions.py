"""Which way each metric is better, and which of a run's metrics says most about it."""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["DIRECTIONS", "direction_of", "main_metric"]

# The first that a run has stands for it in a list. Smaller is better for "min".
DIRECTIONS: Mapping[str, str] = {
    "val_loss": "min",
    "val_bpb": "min",
    "val_reward": "max",
    "bits_per_byte": "min",
    "bpb": "min",
    "perplexity": "min",
    "accuracy": "max",
    "overall": "max",
    "reward": "max",
    "loss": "min",
    "train_loss": "min",
    "train_bpb": "min",
    "output_throughput": "max",
    "request_throughput": "max",
    "total_token_throughput": "max",
    "request_goodput": "max",
    "ttft": "min",
    "tpot": "min",
    "itl": "min",
    "e2el": "min",
    "relative_change": "min",
    "kl": "min",
    "teacher_kl": "min",
    "entropy": "min",
    "agreement": "max",
    "findings": "min",
    "tokens_per_second": "max",
    "peak_memory": "min",
    "training_seconds": "min",
    "bytes": "min",
    "size": "min",
}
# What stands before and after the name of a number: best_val_loss, p99_ttft_ms, ttft_p99.
_BEFORE = re.compile(r"(best|initial|final|mean|median|p\d{1,2}|min|max)_")
_AFTER = re.compile(r"_(ms|seconds|mean|median|p\d{1,2}|min|max)$")


def direction_of(metric: str) -> str:
    """Which is the better, "min" or "max"; "" for a metric of which nothing is known."""
    name = metric.rpartition(".")[2]
    while name:
        if name in DIRECTIONS:
            return DIRECTIONS[name]
        shorter = _AFTER.sub("", _BEFORE.sub("", name, count=1) if _BEFORE.match(name) else name)
        if shorter == name:
            break
        name = shorter
    return ""


def main_metric(metrics: Mapping[str, float]) -> str:
    """The metric that says most about a run; "" where none of `DIRECTIONS` is there."""
    return next((name for name in DIRECTIONS if name in metrics), "")
