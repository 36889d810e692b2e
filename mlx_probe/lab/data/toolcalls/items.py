"""Which rows of which files: `--items simple_python:100-379`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.data.texts.compression import without_compression

__all__ = ["Items", "parse_items", "short_name"]

_ITEM = re.compile(r"(?P<name>[^:]*?)(?::(?P<ranges>\d+(?:-\d*)?(?:,\d+(?:-\d*)?)*))?")
_VERSION = re.compile(r"BFCL_v\d+_")


@dataclass(frozen=True)
class Items:
    """A part of the data.

    Attributes:
        chosen: Ranges of row numbers by short name of the file, both ends included; no ranges
            for all of its rows. Empty for all files.
    """

    chosen: dict[str, tuple[tuple[int, float], ...]]

    def file(self, name: str) -> bool:
        """Whether a file is wanted."""
        return not self.chosen or short_name(name) in self.chosen

    def row(self, name: str, number: int) -> bool:
        """Whether a row of a wanted file is wanted, by its number from 0."""
        ranges = self.chosen.get(short_name(name), ())
        return not ranges or any(first <= number <= last for first, last in ranges)


def parse_items(texts: Iterable[str]) -> Items:
    """Read `NAME`, `NAME:FROM-TO` and `NAME:FROM-TO,NUMBER,...`.

    Raises:
        ConfigError: A text is something else.
    """
    chosen: dict[str, tuple[tuple[int, float], ...]] = {}
    for text in texts:
        match = _ITEM.fullmatch(text)
        if match is None or not match["name"]:
            raise ConfigError(
                f"items cannot be {text!r}",
                "Name a file and its rows, such as simple_python:100-379, or the file alone",
            )
        ranges: list[tuple[int, float]] = []
        for part in (match["ranges"] or "").split(","):
            if part:
                first, dash, last = part.partition("-")
                end = float(last) if last else float("inf") if dash else float(first)
                ranges.append((int(first), end))
        name = short_name(match["name"])
        chosen[name] = chosen.get(name, ()) + tuple(ranges)
    return Items(chosen)


def short_name(name: str) -> str:
    """A file's name without folders, suffixes, and BFCL's version."""
    stem = without_compression(name.rpartition("/")[2])[0]
    for suffix in (".jsonl", ".ndjson", ".json", ".parquet"):
        stem = stem.removesuffix(suffix)
    return _VERSION.sub("", stem)
