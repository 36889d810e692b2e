"""The numbers of a run in the formats of other tools.

An exporter takes a run of any kind, as `read_exported` reads it, and a folder that exports of many
runs share. A new one is a module with ``write``, and one record in `EXPORTERS`; one that can follow
a training has ``open_log``, too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlx_probe.runs.exporters import csv, mlflow, parquet, tensorboard, trackio, wandb

if TYPE_CHECKING:
    from mlx_probe.runs.exporters.exported import ExportedRun, RunLog

__all__ = ["DEFAULT_EXPORTS", "EXPORTERS", "Exporter"]

# Below the working folder: a folder for each exporter.
DEFAULT_EXPORTS = Path("data/exports")


def _nothing() -> None:
    """Needs no package."""


@dataclass(frozen=True)
class Exporter:
    """One format.

    Attributes:
        description: What it makes, for the documentation.
        write: Takes a run and the folder of all exports; returns what it wrote there. Replaces an
            earlier export of the same run. Raises ResultError if the run has no numbers, or the
            disk refuses.
        open_log: Takes a run with the steps that it has so far, and the folder; returns what takes
            the next ones. None where the format cannot grow.
        show: The command that shows what is in the folder.
        send: The command that sends a run somewhere, given the run and what ``write`` returned.
        require: Raises ConfigError where a package is missing.
    """

    description: str
    write: Callable[[ExportedRun, Path], Path]
    open_log: Callable[[ExportedRun, Path], RunLog] | None = None
    show: Callable[[Path], str] | None = None
    send: Callable[[ExportedRun, Path], str] | None = None
    require: Callable[[], None] = _nothing


EXPORTERS: dict[str, Exporter] = {
    "tensorboard": Exporter(
        "a folder for each run with an event file of scalars and hyperparameters",
        tensorboard.write,
        tensorboard.open_log,
        show=tensorboard.show,
    ),
    "trackio": Exporter(
        "a database of trackio with all runs",
        trackio.write,
        trackio.open_log,
        show=trackio.show,
        require=trackio.require,
    ),
    "mlflow": Exporter(
        "a SQLite store of MLflow with all runs",
        mlflow.write,
        mlflow.open_log,
        show=mlflow.show,
        require=mlflow.require,
    ),
    "wandb": Exporter(
        "a folder for each run with an event file, for `wandb sync`",
        wandb.write,
        send=wandb.send,
    ),
    "csv": Exporter(
        "a folder for each run with its numbers by step, and its settings",
        csv.write,
        csv.open_log,
    ),
    "parquet": Exporter(
        "a typed table for each run, with a row for each step",
        parquet.write,
    ),
}
