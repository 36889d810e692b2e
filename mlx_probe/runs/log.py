"""The log file of a job."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlx_probe.core.errors import Interrupted, ProbeError, Stopped
from mlx_probe.core.files import write_error

__all__ = ["log_file", "logged_by"]

# Seconds for which a line may wait in memory.
FLUSH_INTERVAL = 0.25

_log = logging.getLogger(__name__)


class _LogFile(logging.FileHandler):
    """Writes lines to disk a few times a second, and warnings at once.

    A job of many small records would otherwise wait for the disk more than it works.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8")
        self._flushed = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        super().emit(record)
        if record.levelno >= logging.WARNING:
            super().flush()

    def flush(self) -> None:
        """Called after every line."""
        now = time.monotonic()
        if now - self._flushed >= FLUSH_INTERVAL:
            self._flushed = now
            super().flush()

    def close(self) -> None:
        """Write what is left, and close the file."""
        super().flush()
        super().close()


@contextmanager
def log_file(path: Path) -> Iterator[None]:
    """Send the package's log to a file while the job lasts; an error that ends it is logged.

    Raises:
        ResultError: The disk refused the file.
    """
    try:
        handler = _LogFile(path)
    except OSError as error:
        raise write_error(path, error) from error
    with logged_by(handler):
        try:
            yield
        except (Interrupted, Stopped):
            raise  # no fault
        except ProbeError as error:
            _log.error("%s", error)
            raise


@contextmanager
def logged_by(handler: logging.Handler) -> Iterator[None]:
    """Send the package's log to a handler, and close the handler at the end."""
    logger = logging.getLogger("mlx_probe")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(before)
        logger.removeHandler(handler)
        handler.close()
