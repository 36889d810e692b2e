"""Unfinished downloads that no program writes: the Hub's, and those of `mlx-probe download`."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from mlx_probe.core.paths import cache_dir
from mlx_probe.library.catalog.open_files import is_being_written
from mlx_probe.library.space.gathering import hub_folder
from mlx_probe.library.space.needs import Needs
from mlx_probe.library.space.records import Item, Survey
from mlx_probe.library.space.usage import usage
from mlx_probe.source.transfer.destination import WORK_FOLDER

__all__ = ["find_partial"]

_END = ".incomplete"
# Where huggingface_hub keeps what it downloads to a folder.
_LOCAL = (".cache", "huggingface", "download")
_WHY = "no program writes it; a download begins these files again"


def find_partial(needs: Needs, survey: Survey) -> Iterator[Item]:
    """An item for each unfinished file."""
    for path in sorted(needs.partial):
        locks = _locks(path)
        if not locks:
            continue  # somebody else's file with such a name
        try:
            why = _why(path, locks, needs)
            taken = usage([path])
        except OSError as error:
            survey.troubles.append((path, error.strerror or str(error)))
            continue
        if why:
            survey.keep("partial", path, why)
            continue
        home = path.parent.parent
        yield Item("partial", str(path), (path,), home, taken.size, taken.disk, _WHY)


def _why(path: Path, locks: list[Path], needs: Needs) -> str:
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        return "it is a link, or has further names"
    if any(map(_is_locked, locks)):
        return "a download holds its lock"
    if is_being_written(path):
        return "a program writes it"
    return needs.reason(path)


def _locks(path: Path) -> list[Path]:
    """Files that a download of this file would lock; [] if it is no unfinished download."""
    key = path.name.removesuffix(_END)
    if path.parent.name == WORK_FOLDER:
        return [path.with_name(f"{key}.lock")]
    # Some versions add a name of their own after the hash.
    names = {key, key.partition(".")[0], key.rpartition(".")[0] or key}
    if path.parent.name == "blobs" and path.parent.parent.parent == hub_folder():
        folder = hub_folder() / ".locks" / path.parent.parent.name
        return [folder / f"{name}.lock" for name in sorted(names)]
    if any(path.parts[i : i + 3] == _LOCAL for i in range(len(path.parts))):
        return [path.with_name(f"{name}.lock") for name in sorted(names)]
    if cache_dir() in path.parents:
        return [path.with_name(f"{key}.lock")]
    return []


def _is_locked(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
