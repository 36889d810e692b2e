"""Text on this disk: a file, or the files of a folder and the folders below it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mlx_probe.core.errors import SourceError
from mlx_probe.lab.data.origins.protocol import Origin
from mlx_probe.lab.data.texts import TEXTS, format_of

if TYPE_CHECKING:
    from mlx_probe.source.transfer.progress import DownloadProgress

__all__ = ["LOCAL", "unreadable"]


def unreadable(path: Path, error: OSError) -> SourceError:
    """The error for text that the system cannot or may not read."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    return SourceError(f"cannot read {path}: {reason}", "Check that it is there and readable")


def _find(source: str, progress: DownloadProgress | None) -> dict[str, Path] | None:
    try:
        path = Path(source).expanduser()
        # A file that is named is text, whatever its name ends in.
        if path.is_file():
            return {path.name: path}
        if not path.is_dir():
            return None
    except (OSError, ValueError, RuntimeError):
        return None  # too long for a path, a null byte, or no such user
    names = sorted(_names(path))
    if not names:
        suffixes = ", ".join(suffix for form in TEXTS.values() for suffix in form.suffixes)
        raise SourceError(
            f"{source} holds no text: no file ends in {suffixes}",
            "Give another folder, or name the files",
        )
    return {name: path / name for name in names}


def _names(folder: Path) -> Iterator[str]:
    """Names of the files of text, hidden ones left out; links to folders are not followed."""
    for root, folders, names in os.walk(folder, onerror=_refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(root, name)
            if not name.startswith(".") and format_of(name) and path.is_file():
                yield path.relative_to(folder).as_posix()


def _refuse(error: OSError) -> None:
    raise unreadable(Path(error.filename), error) from error


LOCAL = Origin("a file or folder", "book.txt, texts/, data.jsonl.gz, poems.tgz", _find)
