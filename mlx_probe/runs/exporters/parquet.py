"""The numbers of a run as a typed table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mlx_probe.core.files import write_error
from mlx_probe.runs.exporters.kept import write_table

if TYPE_CHECKING:
    from mlx_probe.runs.exporters.exported import ExportedRun

__all__ = ["write"]


def write(run: ExportedRun, out: Path) -> Path:
    """Write a table of a run; its numbers are float64 but for the step.

    Args:
        run: The run.
        out: The folder of all exports.

    Returns:
        The table of this one.

    Raises:
        ResultError: The run has no numbers, or the disk refused.
    """
    run.require_numbers()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(out, error) from error
    path = out / f"{run.slug}.parquet"
    write_table(run.steps or run.rows(), path)
    return path
