"""JSON Lines: one object a line, with the text in one of its values."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import BinaryIO

from mlx_probe.core.errors import SourceError
from mlx_probe.lab.data.texts.column import text_of
from mlx_probe.lab.data.texts.protocol import Record, TextFormat

__all__ = ["JSONL"]

# Bytes of a line at most; it is held in memory.
_LONGEST = 64 << 20


def _read(file: BinaryIO, name: str, column: str) -> Iterator[Record]:
    number = 0
    while line := file.readline(_LONGEST + 1):
        number += 1
        where = f"{name}: line {number}"
        if len(line) > _LONGEST:
            raise SourceError(f"{where} is longer than {_LONGEST >> 20} MiB", "Cut it into rows")
        if line.isspace():
            continue
        try:
            row = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
        except UnicodeDecodeError as error:
            raise SourceError(f"{where} is not UTF-8", "Convert the file to UTF-8") from error
        except (ValueError, RecursionError) as error:
            raise SourceError(f"{where} is not JSON: {error}", "Repair or remove it") from error
        yield text_of(row, column, where)


JSONL = TextFormat("JSON Lines", (".jsonl", ".ndjson"), _read)
