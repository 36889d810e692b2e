"""Where what is worth keeping between runs is kept."""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["cache_dir"]


def cache_dir() -> Path:
    """Folder of unpacked wheels and calibrations: MLX_PROBE_CACHE, or the system's place."""
    if given := os.environ.get("MLX_PROBE_CACHE"):
        return Path(given).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "mlx-probe"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mlx-probe"
