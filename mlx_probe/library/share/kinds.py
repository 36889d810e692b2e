"""The kinds of files that a run folder holds, and which of them guests may read."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from mlx_probe.core.errors import ConfigError

__all__ = ["FILE_KINDS", "FileKind", "check_kinds", "kind_of", "media_type"]

_BYTES = "application/octet-stream"


@dataclass(frozen=True)
class FileKind:
    """Files that are served together.

    Attributes:
        description: What they are.
        types: Media type by suffix.
        by_default: Whether guests may read them without --include.
    """

    description: str
    types: Mapping[str, str]
    by_default: bool = False


# By the word for --include.
FILE_KINDS: Mapping[str, FileKind] = {
    "tables": FileKind(
        description="CSV, JSON Lines and Parquet",
        types={
            ".csv": "text/csv",
            ".tsv": "text/tab-separated-values",
            ".jsonl": "application/x-ndjson",
            ".parquet": "application/vnd.apache.parquet",
        },
        by_default=True,
    ),
    "documents": FileKind(
        description="Markdown, plain text and PDF",
        types={
            ".md": "text/markdown",
            ".markdown": "text/markdown",
            ".txt": "text/plain",
            ".pdf": "application/pdf",
        },
        by_default=True,
    ),
    "pictures": FileKind(
        description="PNG, JPEG, WebP and SVG",
        types={
            ".png": "image/png",
            ".jpg": "image/jpeg",
            ".jpeg": "image/jpeg",
            ".webp": "image/webp",
            ".svg": "image/svg+xml",
        },
        by_default=True,
    ),
    "metadata": FileKind(
        description="`run_meta.json` and other JSON, YAML, TOML, notebooks",
        types={
            ".json": "application/json",
            ".yaml": "text/plain",
            ".yml": "text/plain",
            ".toml": "text/plain",
            ".ipynb": _BYTES,
        },
    ),
    "logs": FileKind(description="Logs of jobs", types={".log": "text/plain"}),
    "weights": FileKind(
        description="Checkpoints of any format",
        types=dict.fromkeys(
            (".safetensors", ".gguf", ".npz", ".npy", ".bin", ".pt", ".pth"), _BYTES
        ),
    ),
}
# What a job that has not ended keeps for itself.
_UNFINISHED = ".partial."


def kind_of(name: str) -> str | None:
    """The kind of a file by its name; None for one that is never served."""
    suffix = _suffix(name)
    if _UNFINISHED in name:
        return None
    return next((kind for kind, of in FILE_KINDS.items() if suffix in of.types), None)


def media_type(name: str) -> str:
    """The media type of a file by its name."""
    suffix = _suffix(name)
    types = (of.types[suffix] for of in FILE_KINDS.values() if suffix in of.types)
    return next(types, _BYTES)


def check_kinds(more: Collection[str]) -> frozenset[str]:
    """The kinds that guests may read.

    Args:
        more: Words for --include.

    Raises:
        ConfigError: There is no such kind.
    """
    for word in more:
        if word not in FILE_KINDS:
            near = difflib.get_close_matches(word, FILE_KINDS, 1)
            meant = f"Did you mean {near[0]}?" if near else f"Choose from {', '.join(FILE_KINDS)}"
            raise ConfigError(f"there is no kind of files {word!r}", meant)
    return frozenset(more) | {kind for kind, of in FILE_KINDS.items() if of.by_default}


def _suffix(name: str) -> str:
    return f".{name.rpartition('.')[2].lower()}" if "." in name else ""
