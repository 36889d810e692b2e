"""Whether downloads fit on the disk."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from mlx_probe.core.errors import SourceError
from mlx_probe.core.units import format_size
from mlx_probe.source.transfer.destination import Destination
from mlx_probe.source.transfer.request import FileRequest

__all__ = ["existing_folder", "require_space", "space_for"]


def require_space(folder: Path, needed: int, what: str, variable: str) -> None:
    """Refuse a download that cannot fit, before its first byte.

    Args:
        folder: An existing folder on the disk in question.
        needed: Bytes to be written.
        what: What needs them, for the message.
        variable: Environment variable or option that moves it to another disk.

    Raises:
        SourceError: The disk has fewer bytes free.
        OSError: The folder cannot be read.
    """
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise SourceError(
            f"{what} needs {format_size(needed)} more in {folder}, which has "
            f"{format_size(free)} free",
            f"Free space there, or set {variable} to a folder on a larger disk",
        )


def space_for(requests: Iterable[FileRequest], destination: Destination, what: str) -> None:
    """The same for files that are about to be fetched; bytes that are there already are not needed.

    Args:
        requests: The files.
        destination: Where they go; need not exist.
        what: What needs them, for the message.

    Raises:
        SourceError: See `require_space`.
        OSError: See `require_space`.
    """
    needed = sum(
        max(0, (request.file.size or 0) - destination.partial_size(request.key))
        for request in requests
    )
    require_space(existing_folder(destination.folder), needed, what, destination.variable)


def existing_folder(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    folder = folder.absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder
