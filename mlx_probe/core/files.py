"""Files that are complete or absent, and what to say when the disk refuses."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mlx_probe.core.errors import ResultError

__all__ = ["replacing", "write_error"]

_REMEDIES = {
    errno.ENOSPC: "Free space on that disk, or choose another place with --out",
    errno.EDQUOT: "Free space in your quota, or choose another place with --out",
    errno.EROFS: "Choose a place on a writable disk with --out",
    errno.EACCES: "Give yourself write permission there, or choose another place with --out",
    errno.EPERM: "Give yourself write permission there, or choose another place with --out",
    errno.ENOTDIR: "Choose a path with --out whose parents are all folders",
    errno.EEXIST: "Move that file away, or choose another place with --out",
    errno.ENAMETOOLONG: "Choose a shorter path with --out",
    errno.EIO: "Check the disk, or choose another place with --out",
}


def write_error(path: Path, error: OSError) -> ResultError:
    """The failure to write ``path``, with a remedy that fits the cause."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    remedy = _REMEDIES.get(error.errno or 0, "Choose another place with --out")
    return ResultError(f"cannot write {path}: {reason}", remedy)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Lets a caller write ``path`` so that readers see the old file or the whole new one.

    Args:
        path: The file to write.

    Yields:
        A temporary path in the same folder. On success it is flushed to the disk and takes
        the place of ``path``; on failure it is removed and ``path`` stays as it was.

    Raises:
        ResultError: The disk refused.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink()
