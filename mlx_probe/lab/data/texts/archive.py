"""Archives: the text files in a tar file, such as a package of npm, in the order of the archive."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import BinaryIO, cast

from mlx_probe.core.errors import SourceError
from mlx_probe.lab.data.texts.protocol import Record, TextFormat

__all__ = ["ARCHIVE", "is_about_package"]

# What describes a package rather than belonging to its text.
_ABOUT = re.compile(
    r"(readme|licen[cs]e|copying|changelog|changes|notice|authors|contributors|contributing|"
    r"code_of_conduct|requirements|package|package-lock|top_level|entry_points|schema)([._-].*)?",
    re.IGNORECASE,
)


def is_about_package(name: str) -> bool:
    """Whether a file of a package describes it: its readme, licence, metadata, or hidden."""
    path = PurePosixPath(name)
    hidden = any(part.startswith(".") for part in path.parts)
    return hidden or ".dist-info/" in name or bool(_ABOUT.fullmatch(path.name))


def _read(file: BinaryIO, name: str, column: str) -> Iterator[Record]:
    from mlx_probe.lab.data.texts import format_of
    from mlx_probe.lab.data.texts.compression import decompressed, without_compression

    try:
        # As a stream: nothing is unpacked to the disk.
        with tarfile.open(fileobj=file, mode="r|") as archive:
            for member in archive:
                form = format_of(member.name)
                if form is None or not member.isfile() or is_about_package(member.name):
                    continue
                where = f"{name}: {member.name}"
                if form.seeks or form is ARCHIVE:
                    raise SourceError(f"{where} is not read from archives", "Unpack the archive")
                content = cast(BinaryIO, archive.extractfile(member))
                _, suffix = without_compression(member.name)
                yield from form.read(decompressed(content, suffix), where, column)
    except tarfile.TarError as error:
        raise SourceError(f"{name} is damaged: {error}", "Get the file again") from error


ARCHIVE = TextFormat("tar archives of these", (".tar",), _read)
