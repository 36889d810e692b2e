"""Write documents: new ones never replace a file, lines are added whole or not at all."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from mlx_probe.core.errors import ResultError
from mlx_probe.core.files import write_all

__all__ = ["append_line", "write_new"]

try:
    import fcntl
except ImportError:  # pragma: no cover  not on this system
    fcntl = None  # type: ignore[assignment]


def write_new(path: Path, text: str) -> None:
    """Write a file that is not there yet, whole or not at all.

    Raises:
        ResultError: It is there, or the disk refused.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".mlx-probe-", dir=path.parent) as folder:
            temporary = Path(folder, "new")
            temporary.write_text(text, "utf-8", errors="backslashreplace")
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            try:
                # Unlike a renaming this fails if the name is taken, by whomever.
                path.hardlink_to(temporary)
            except FileExistsError:
                raise
            except OSError:
                # A disk without links.
                _write_without_links(path, temporary.read_bytes())
    except FileExistsError as error:
        raise ResultError(
            f"{path} is there already", "Choose another title, or edit that document"
        ) from error
    except OSError as error:
        raise _refused(path, error) from error


def _write_without_links(path: Path, data: bytes) -> None:
    with path.open("xb", buffering=0) as file:
        try:
            write_all(file, data)
        except BaseException:
            path.unlink()
            raise


def _refused(path: Path, error: OSError) -> ResultError:
    reason = os.strerror(error.errno) if error.errno else str(error)
    return ResultError(
        f"cannot write {path}: {reason}",
        "Check the permissions of its folder and the space on its disk",
    )


def append_line(path: Path, line: str) -> None:
    """Add a line to a file, whole or not at all, whatever other processes add.

    Args:
        path: The file; it exists.
        line: Text without line breaks.

    Raises:
        ResultError: The disk refused.
    """
    data = (line + "\n").encode("utf-8", "backslashreplace")
    try:
        with path.open("rb+", buffering=0) as file:
            if fcntl is not None:
                fcntl.flock(file.fileno(), fcntl.LOCK_EX)
            end = file.seek(0, os.SEEK_END)
            if end:
                file.seek(end - 1)
                # An editor may have left the last line without an end.
                data = data if file.read(1) == b"\n" else b"\n" + data
            try:
                write_all(file, data)
                os.fsync(file.fileno())
            except OSError:
                # A full disk may take a part of it.
                with suppress(OSError):
                    os.ftruncate(file.fileno(), end)
                raise
    except OSError as error:
        raise _refused(path, error) from error
