"""The metrics of a run in the formats of other tools.

A run streams its metrics to metrics.jsonl, one JSON object for each step. An exporter makes
another file or folder of it. A new one is a module with ``export``, and one record in
`EXPORTERS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mlx_probe.runs.exporters import parquet, tensorboard

__all__ = ["EXPORTERS", "Exporter"]


@dataclass(frozen=True)
class Exporter:
    """One format.

    Attributes:
        description: What it is, for the documentation.
        name: Name of the file or folder that it makes, in the run folder unless the user says
            otherwise.
        export: Takes the run folder, which stays as it is, and where to write; replaces what is
            there. Raises ResultError if the metrics cannot be read, or the disk refuses.
    """

    description: str
    name: str
    export: Callable[[Path, Path], None]


EXPORTERS: dict[str, Exporter] = {
    "parquet": Exporter(
        "one typed table, a row for each step and a column for each metric",
        "metrics.parquet",
        parquet.export,
    ),
    "tensorboard": Exporter(
        "a folder with an event file of scalars, for `tensorboard --logdir`",
        "tensorboard",
        tensorboard.export,
    ),
}
