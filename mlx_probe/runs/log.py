"""The log file of a job."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlx_probe.core.errors import Interrupted, ProbeError, Stopped
from mlx_probe.core.files import write_error

__all__ = ["log_file", "logged_by"]

_log = logging.getLogger(__name__)


@contextmanager
def log_file(path: Path) -> Iterator[None]:
    """Send the package's log to a file while the job lasts; an error that ends it is logged.

    Raises:
        ResultError: The disk refused the file.
    """
    try:
        handler = logging.FileHandler(path, encoding="utf-8")
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
