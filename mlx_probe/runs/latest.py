"""The latest run of a model: a link beside the folders of its runs."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path

from mlx_probe.core.errors import ResultError
from mlx_probe.core.files import replacing
from mlx_probe.runs.folder import DEFAULT_STEM, is_time_name, meta_name

__all__ = ["LATEST", "point_latest", "run_folder"]

LATEST = "latest"

_log = logging.getLogger(__name__)


def point_latest(folder: Path) -> None:
    """Make ``latest`` beside a finished run's folder mean that folder.

    A relative link, so that the whole tree can be moved; on file systems without links a text
    file with the folder's name, which `run_folder` reads. A run is complete without it: a disk
    that refuses both is only a warning in the log.
    """
    link = folder.with_name(LATEST)
    temporary = folder.with_name(f".{LATEST}.{os.getpid()}.tmp")
    try:
        with suppress(FileNotFoundError):
            temporary.unlink()
        temporary.symlink_to(folder.name, target_is_directory=True)
        temporary.replace(link)
        return
    except OSError as error:
        reason = error.strerror
        with suppress(OSError):
            temporary.unlink()
    try:
        with replacing(link) as written:
            written.write_text(f"{folder.name}\n", encoding="utf-8")
    except ResultError as error:
        _log.warning("%s does not point to %s: %s", link, folder.name, error.fact)
        return
    _log.warning(
        "%s is a text file with the folder's name: this file system makes no links (%s)",
        link,
        reason,
    )


def run_folder(path: Path) -> Path:
    """The run folder that a path means; any other path as it is.

    Args:
        path: A run folder, a model's ``latest``, or the folder of all runs of a model, which
            means the latest of them, finished if there is one.
    """
    if path.name == LATEST and (path.is_symlink() or path.is_file()):
        return _linked(path) or path
    if not path.is_dir():
        return path
    if (linked := _linked(path / LATEST)) is not None:
        return linked
    try:
        runs = sorted((each for each in path.iterdir() if is_time_name(each.name)), reverse=True)
    except OSError:
        return path  # whoever reads it says why not
    finished = [run for run in runs if any(run.glob(f"*{meta_name(DEFAULT_STEM)}"))]
    # The model's folder may itself hold a run of the time when runs had no folders of their own.
    if finished or any(path.glob(f"*{meta_name(DEFAULT_STEM)}")):
        return finished[0] if finished else path
    return runs[0] if runs else path


def _linked(link: Path) -> Path | None:
    """The folder that ``latest`` names; None if there is none, or it is gone."""
    try:
        name = str(link.readlink()) if link.is_symlink() else link.read_text("utf-8").strip()
    except (OSError, ValueError):
        return None
    # Only a name beside it: whatever else is called latest is not ours.
    folder = link.with_name(Path(name).name) if is_time_name(name) else None
    return folder if folder is not None and folder.is_dir() else None
