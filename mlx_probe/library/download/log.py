"""The log of one download."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

from mlx_probe.runs.log import logged_by

__all__ = ["logging_to"]

_log = logging.getLogger("mlx_probe")


@contextmanager
def logging_to(folder: Path) -> Iterator[Path]:
    """Send the package's log to a new file, download_<UTC time>.log, until the download ends.

    Args:
        folder: Where; made if need be.

    Raises:
        OSError: It cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stamp = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S_%fZ")
    path = folder / f"download_{stamp}.log"
    # Exclusively: not through a link that somebody put there.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    with (
        open(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file,  # noqa: PTH123
        logged_by(logging.StreamHandler(file)),
    ):
        try:
            yield path
        except BaseException as error:
            name, fact = type(error).__name__, getattr(error, "fact", error)
            _log.error("ended by %s: %s", name, fact)
            raise
