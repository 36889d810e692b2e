"""Compare restored files with those that were backed up, where these have not changed since."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from mlx_probe.core.files import sha256_file

__all__ = ["compare_live"]


def compare_live(
    restored: Path, live: Path, is_unchanged: Callable[[os.stat_result], bool]
) -> bool | None:
    """Whether both have the same content; None if the live file has changed or is gone.

    Args:
        restored: The restored file.
        live: Where it was.
        is_unchanged: Says of the live file whether it was written since.
    """
    try:
        status = live.lstat()
        if not stat.S_ISREG(status.st_mode) or not is_unchanged(status):
            return None
        there = sha256_file(live)
        # It may have been written while it was read.
        if not is_unchanged(live.lstat()):
            return None
    except OSError:
        return None
    return there == sha256_file(restored)
