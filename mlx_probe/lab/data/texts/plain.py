"""Plain text in UTF-8: a file is one record."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import BinaryIO

from mlx_probe.core.errors import SourceError
from mlx_probe.lab.data.texts.protocol import Record, TextFormat

__all__ = ["PLAIN", "decoded"]

_BLOCK = 1 << 20


def decoded(file: BinaryIO, name: str) -> Iterator[str]:
    """The rest of a file in pieces of at most 1 MiB, without a byte order mark.

    Raises:
        SourceError: It is not UTF-8.
    """
    decoder, done = codecs.getincrementaldecoder("utf-8")("strict"), 0
    while True:
        block = file.read(_BLOCK)
        waiting = len(decoder.getstate()[0])
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            raise SourceError(
                f"{name} is not UTF-8: byte {error.object[error.start]:#04x} at position "
                f"{done - waiting + error.start}",
                "Convert it, for example with `iconv -f ISO-8859-1 -t UTF-8`, or leave it out",
            ) from error
        if text:
            yield text.removeprefix("\ufeff") if done == 0 else text
        if not block:
            return
        done += len(block)


def _read(file: BinaryIO, name: str, column: str) -> Iterator[Record]:
    yield decoded(file, name)


PLAIN = TextFormat(
    title="plain text in UTF-8",
    suffixes=(".txt", ".text", ".md", ".markdown", ".rst", ".tex", ".org"),
    read=_read,
    rows=False,
)
