"""What the training of a mixture leaves in its folder."""

from __future__ import annotations

from mlx_probe.runs.training.folder import ACTIVE_EXPERTS

__all__ = ["MADE", "MODEL", "RESULTS"]

MODEL = "model"
_TABLES = ("metrics.jsonl", "metrics.parquet", *ACTIVE_EXPERTS)
MADE = ("checkpoints", MODEL, *_TABLES, "samples.jsonl", "tensorboard")
RESULTS = (*_TABLES, "samples.jsonl", "recipe.yaml", "tensorboard/*", f"{MODEL}/*")
