"""The series of a training run, in as few points as a reader can see."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mlx_probe.runs.training.run import TrainingRun

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["EVALUATED", "OF_STEPS", "bytes_per_token", "envelope", "evaluations", "with_train_bpb"]

# Columns of metrics that reports draw: of every step, in the order of the page, and of evaluations.
# Rewards are those of a tuning by rewards, experts those of the training of a mixture.
OF_STEPS = (
    *("train_loss", "train_bpb", "reward", "reward_std", "kl", "answer_tokens"),
    *("teacher_kl", "active_mean", "fallback", "learning_rate", "grad_norm", "tokens_per_second"),
)
EVALUATED = ("val_loss", "val_bpb", "val_reward")


def bytes_per_token(run: TrainingRun) -> float | None:
    """From the run's metadata, or from the manifest of the text that it tokenized itself."""
    described = run.meta.get("data")
    if not isinstance(described, Mapping):
        try:
            described = json.loads((run.folder / "data" / "manifest.json").read_text("utf-8"))
        except (OSError, ValueError, RecursionError):
            return None
    try:
        value = described["splits"]["train"]["bytes_per_token"]
    except (KeyError, TypeError):
        return None
    return float(value) if isinstance(value, (int, float)) and value > 0 else None


def evaluations(metrics: pd.DataFrame) -> pd.DataFrame:
    """The lines of metrics with an evaluation."""
    known = [name for name in EVALUATED if name in metrics]
    rows: pd.DataFrame = metrics[metrics[known].notna().any(axis=1)] if known else metrics[:0]
    return rows


def with_train_bpb(metrics: pd.DataFrame, bytes_per_token: float | None) -> pd.DataFrame:
    """Metrics with the column "train_bpb", where the mean bytes of a training token are known."""
    if not bytes_per_token or bytes_per_token <= 0 or "train_loss" not in metrics:
        return metrics
    bits = metrics["train_loss"] / (math.log(2) * bytes_per_token)
    extended: pd.DataFrame = metrics.assign(train_bpb=bits)
    return extended


def envelope(values: NDArray[np.float64], points: int) -> dict[str, NDArray[np.float64]]:
    """Mean, least and largest value of stretches of equally many steps.

    A mean alone would hide jumps, and every n-th value would show a few of them by chance.

    Args:
        values: In order, NaN where there is none.
        points: Stretches, at most.

    Returns:
        "mean", "low" and "high" of each stretch, NaN for one without a value. Infinities, and
        values that are too large for a mean, are part of the ends.
    """
    each = -(-len(values) // points) if len(values) else 1
    padded = np.full(-(-len(values) // each) * each, np.nan)
    padded[: len(values)] = values
    rows = padded.reshape(-1, each)
    known = ~np.isnan(rows)
    some = known.any(axis=1)
    with np.errstate(over="ignore", invalid="ignore"):
        sums = np.where(known, rows, 0).sum(axis=1)
        mean = np.where(some, sums / np.maximum(known.sum(axis=1), 1), np.nan)
    low = np.where(some, np.where(known, rows, np.inf).min(axis=1), np.nan)
    high = np.where(some, np.where(known, rows, -np.inf).max(axis=1), np.nan)
    return {"mean": mean, "low": low, "high": high}
