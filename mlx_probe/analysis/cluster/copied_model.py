"""How a worker finds its own copy of a model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mlx_probe.analysis import opening
from mlx_probe.analysis.cluster.config import place_for
from mlx_probe.checkpoint import open_checkpoint
from mlx_probe.core.errors import CheckpointError
from mlx_probe.core.records import ModelFiles

if TYPE_CHECKING:
    from mlx_probe.checkpoint import Checkpoint

__all__ = ["CopiedModel", "copied_model"]

_OPTION = "--model-path-on-workers"

# What a model is called whose files have no published version.
_LOCAL = "local"


@dataclass(frozen=True)
class CopiedModel:
    """A model of the client, for workers that have copies of it.

    Attributes:
        files: The client's files, with absolute paths.
        paths: See `ClusterConfig.model_paths`.
        option: The option of the command line that gives them.
    """

    files: ModelFiles
    paths: tuple[str, ...] = ()
    option: str = _OPTION

    def open(self, host: str, name: str) -> Checkpoint:
        """Open the copy of a worker, fetching a published model that is not there yet.

        Args:
            host: Name of the worker's machine.
            name: Name of the worker.

        Raises:
            ProbeError: There is no copy, or it cannot be opened.
        """
        files = self.files
        place = place_for(self.paths, host, name)
        if place is not None:
            return opening.open_checkpoint(place, quiet=True)
        if all(path.exists() for path in files.weights):
            return open_checkpoint(files)
        if files.revision != _LOCAL:
            # An address has no versions: whether the bytes are the same is compared afterwards.
            revision = None if files.model_id.startswith("https://") else files.revision
            return opening.open_checkpoint(files.model_id, revision, quiet=True)
        raise CheckpointError(
            f"{files.path} is not there",
            f"Share that folder, or copy it and say where: {self.option} {host}=PATH",
        )


def copied_model(
    checkpoint: Checkpoint, paths: tuple[str, ...], option: str = _OPTION
) -> CopiedModel:
    """A model as workers are to open it.

    Args:
        checkpoint: The model, as the client opened it.
        paths: See `ClusterConfig.model_paths`.
        option: The option of the command line that gives them.
    """
    files = checkpoint.files
    return CopiedModel(
        replace(
            files,
            path=files.path.absolute(),
            weights=tuple(path.absolute() for path in files.weights),
            index=files.index.absolute() if files.index else None,
            config=files.config.absolute() if files.config else None,
        ),
        paths,
        option,
    )
