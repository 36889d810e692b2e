"""metrics.jsonl: the columns of its lines, and the table that they make."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from mlx_probe.core.errors import ResultError
from mlx_probe.core.files import whole_lines
from mlx_probe.core.records import Column, Row

__all__ = ["METRIC_COLUMNS", "TIMES", "metric_rows"]

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


def metric_rows(path: Path) -> Iterator[Row]:
    """The lines of a file as rows of `METRIC_COLUMNS`.

    Raises:
        ResultError: It cannot be read, or a line is damaged.
    """
    try:
        with path.open("rb") as file:
            for index, line in enumerate(whole_lines(file)):
                yield Row(index, json.loads(line))
    except (OSError, ValueError) as error:
        raise ResultError(f"{path} cannot be read: {error}", "Restore the file") from error
