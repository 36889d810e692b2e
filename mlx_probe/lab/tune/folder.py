"""What a tuning leaves in its folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from mlx_probe.core.files import write_error, write_text
from mlx_probe.lab.tune.example import Skipped
from mlx_probe.lab.tune.grpo.store import ROLLOUTS
from mlx_probe.runs.training.folder import DIFFERENCES_OVER_TIME

__all__ = ["ADAPTER", "MADE", "RESULTS", "SKIPPED", "write_skipped"]

ADAPTER, SKIPPED = "adapter", "skipped.jsonl"
MADE = (
    "checkpoints",
    "snapshots",
    ADAPTER,
    SKIPPED,
    ROLLOUTS,
    "metrics.jsonl",
    "metrics.parquet",
    "samples.jsonl",
    DIFFERENCES_OVER_TIME,
    "tensorboard",
)
# A comparison of a snapshot is a run of its own, with its own hashes.
RESULTS = (
    "metrics.jsonl",
    "metrics.parquet",
    "samples.jsonl",
    DIFFERENCES_OVER_TIME,
    "recipe.yaml",
    SKIPPED,
    f"{ROLLOUTS}/*",
    "tensorboard/*",
    f"{ADAPTER}/*",
    "snapshots/step-*/*",
)


def write_skipped(folder: Path, skipped: Sequence[Skipped]) -> None:
    """Name every conversation that is left out or cut, one a line.

    Raises:
        ResultError: The disk refused.
    """
    path = folder / SKIPPED
    if not skipped:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise write_error(path, error) from error
        return
    lines = [json.dumps(asdict(each), ensure_ascii=False) + "\n" for each in skipped]
    write_text(path, "".join(lines))
