"""metrics.jsonl: the columns of its lines."""

from __future__ import annotations

from mlx_probe.core.records import Column

__all__ = ["METRIC_COLUMNS", "TIMES"]

_FAMILY = "training"

METRIC_COLUMNS: tuple[Column, ...] = (
    Column("step", "int64", _FAMILY, "Updates of the weights so far.", required=True, lower=0),
    Column("tokens", "int64", _FAMILY, "Tokens trained on so far.", required=True, lower=0),
    Column("train_loss", "float64", _FAMILY, "Nats a token of the batch, before the update."),
    Column("learning_rate", "float64", _FAMILY, "Learning rate of AdamW at the step.", lower=0),
    Column("grad_norm", "float64", _FAMILY, "Norm of the gradient before clipping.", lower=0),
    Column("tokens_per_second", "float64", _FAMILY, "Tokens of the step by its time.", lower=0),
    Column("seconds", "float64", _FAMILY, "Time of the run so far, over all starts.", lower=0),
    Column("val_loss", "float64", _FAMILY, "Nats a token of the validation text."),
    Column("val_bpb", "float64", _FAMILY, "Bits for each byte of the validation text."),
)  # fmt: skip
# They differ between a run and one that was resumed; all others are the same, bit for bit.
TIMES = ("tokens_per_second", "seconds")
