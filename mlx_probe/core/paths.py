"""Where what is worth keeping between runs is kept."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from mlx_probe.core.files import atomic_replace

__all__ = ["cache_dir", "keep_json"]


def cache_dir() -> Path:
    """Folder of unpacked wheels and calibrations: MLX_PROBE_CACHE, or the system's place."""
    if given := os.environ.get("MLX_PROBE_CACHE"):
        return Path(given).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "mlx-probe"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mlx-probe"


def keep_json(path: Path, entry: Any) -> None:
    """Keep something that can be had again, so that readers see the old file or the whole new one.

    Args:
        path: A file in `cache_dir`.
        entry: What JSON knows.
    """
    # A cache that cannot be kept costs time and nothing else.
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_replace(path, scratch=path.parent, flush=False) as temporary:
            temporary.write_text(json.dumps(entry, indent=2) + "\n", "utf-8")
