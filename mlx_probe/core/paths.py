"""The folders of this system: what can be made again, and what cannot."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from mlx_probe.core.files import atomic_replace

__all__ = ["cache_dir", "data_dir", "keep_json"]


def cache_dir() -> Path:
    """Folder of unpacked wheels and calibrations: MLX_PROBE_CACHE, or the system's cache folder."""
    if given := os.environ.get("MLX_PROBE_CACHE"):
        return Path(given).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "mlx-probe"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mlx-probe"


def data_dir() -> Path:
    """Folder of what nothing can make again: MLX_PROBE_DATA, or the system's data folder."""
    if given := os.environ.get("MLX_PROBE_DATA"):
        return Path(given).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "mlx-probe"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "mlx-probe"


def keep_json(path: Path, entry: Any) -> None:
    """Keep a value that can be computed again; readers see the old file or the whole new one.

    Args:
        path: A file in `cache_dir`.
        entry: A value that JSON can hold.
    """
    # Without the cache a later run takes longer; nothing else is lost.
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_replace(path, scratch=path.parent, flush=False) as temporary:
            temporary.write_text(json.dumps(entry, indent=2) + "\n", "utf-8")
