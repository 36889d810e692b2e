"""Whether downloads fit on the disk."""

from __future__ import annotations

import shutil
from pathlib import Path

from rich.filesize import decimal

from mlx_probe.errors import SourceError

__all__ = ["require_space"]


def require_space(folder: Path, needed: int, what: str, variable: str) -> None:
    """Refuse a download that cannot fit, before its first byte.

    Args:
        folder: An existing folder on the disk in question.
        needed: Bytes about to be written.
        what: What needs them, for the message.
        variable: Environment variable that moves the cache to another disk.

    Raises:
        SourceError: The disk has fewer bytes free.
        OSError: The folder cannot be read.
    """
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise SourceError(
            f"{what} needs {decimal(needed)} more in {folder}, which has {decimal(free)} free",
            f"Free space there, or set {variable} to a folder on a larger disk",
        )
