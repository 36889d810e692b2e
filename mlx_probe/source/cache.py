"""Where downloaded models are kept, and whether they fit."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from rich.filesize import decimal

from mlx_probe.errors import SourceError

__all__ = ["cache_dir", "require_space"]


def cache_dir() -> Path:
    """Where unpacked wheels are kept: MLX_PROBE_CACHE, or the system's place for caches."""
    if given := os.environ.get("MLX_PROBE_CACHE"):
        return Path(given).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "mlx-probe"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mlx-probe"


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
