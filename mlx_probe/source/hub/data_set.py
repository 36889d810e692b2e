"""Data sets on the Hugging Face Hub: ``hub:owner/name[@revision][:glob]``."""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path

from mlx_probe.core.errors import SourceError
from mlx_probe.core.records import ModelRef
from mlx_probe.source.hub.cache import CacheDestination
from mlx_probe.source.hub.choice import fetch_missing
from mlx_probe.source.hub.errors import DATA, explained
from mlx_probe.source.hub.listing import list_repository
from mlx_probe.source.transfer.progress import DownloadProgress

__all__ = ["fetch_data_set", "parse_data_set"]

_REFERENCE = re.compile(
    r"hub:(?P<name>[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})"
    r"(?:@(?P<revision>[^:\s]+))?(?::(?P<file>.+))?",
    re.ASCII,
)


def parse_data_set(text: str) -> ModelRef | None:
    """What a reference means; None if it is not one of a data set."""
    match = _REFERENCE.fullmatch(text)
    return match and ModelRef(text, DATA, match["name"], match["revision"], match["file"])


def fetch_data_set(
    ref: ModelRef, wanted: Callable[[str], bool], progress: DownloadProgress | None = None
) -> tuple[Path, list[str]]:
    """Download files of a data set into huggingface_hub's cache, each verified by its hash.

    Args:
        ref: From `parse_data_set`. Its ``file`` is a glob on names.
        wanted: Whether a file is wanted, by its name.
        progress: Shows how far it is; None for nothing.

    Returns:
        A folder, and the names of the files in it, sorted.

    Raises:
        SourceError: No such data set, no such files, no connection, or no space.
    """
    with explained(ref):
        repository = list_repository(ref)
        names = sorted(
            name for name in repository.files if wanted(name) and fnmatchcase(name, ref.file or "*")
        )
        if not names:
            raise SourceError(
                f"{ref.text} has no files of text",
                "Name another data set, or a glob of its files: hub:owner/name:data/*.parquet",
            )
        destination = CacheDestination(ref.name, repository.commit, repository.kind)
        fetch_missing(repository, names, destination, ref.text, progress)
        destination.remember(ref.revision)
    return destination.folder, names
