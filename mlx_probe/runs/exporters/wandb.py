"""TensorBoard's event files for `wandb sync`, one folder for each run.

W&B reads event files up to version 0.29.0, with a network; nothing here needs either.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from mlx_probe.runs.exporters import tensorboard

if TYPE_CHECKING:
    from mlx_probe.runs.exporters.exported import ExportedRun

__all__ = ["send", "write"]

# The last version whose `wandb sync` reads event files.
_VERSION = "0.29.0"
_PROJECT = "mlx-probe"
# W&B puts the name of the innermost folder before each metric: with the same name for all runs,
# their curves lie in one chart.
_NAMESPACE = "metrics"


def write(run: ExportedRun, out: Path) -> Path:
    """Write the event file of a run in a folder of its own: W&B makes one run of a folder.

    Args:
        run: The run.
        out: The folder of all exports.

    Returns:
        The folder of this one.

    Raises:
        ResultError: The run has no numbers, or the disk refused.
    """
    folder = out / run.slug
    tensorboard.write_events(run, folder / _NAMESPACE)
    return folder


def send(run: ExportedRun, path: Path) -> str:
    """The command that sends a run to W&B; sent again, it goes to the same run there.

    Args:
        run: The run.
        path: What `write` returned.
    """
    sync = ["sync", "--sync-tensorboard", "--project", _PROJECT, "--id", run.identity, str(path)]
    return shlex.join(["uvx", f"wandb=={_VERSION}", *sync])
