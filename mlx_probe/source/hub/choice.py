"""The files of a repository that an analysis needs, and how they get to this disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from mlx_probe.core.errors import SourceError
from mlx_probe.core.records import ModelRef
from mlx_probe.source.hub.listing import Repository
from mlx_probe.source.selection import Selection, select_files
from mlx_probe.source.transfer.batch import fetch_files
from mlx_probe.source.transfer.destination import Destination
from mlx_probe.source.transfer.digest import check_names
from mlx_probe.source.transfer.disk_space import space_for
from mlx_probe.source.transfer.progress import DownloadProgress
from mlx_probe.source.transfer.retry import RetryPolicy

__all__ = ["choose_files", "fetch_missing"]


def choose_files(
    repository: Repository,
    ref: ModelRef,
    destination: Destination,
    retry: RetryPolicy | None = None,
    on_bytes: Callable[[int], None] = lambda count: None,
) -> Selection:
    """Choose a repository's files, and fetch index and config to ``destination``.

    Args:
        repository: From `list_repository`.
        ref: Repository, file to pick among several.
        destination: Where the two small files go.
        retry: When to give up on a file.
        on_bytes: See `fetch_files`.

    Returns:
        The files; its ``weights`` are the shards where an index names them.

    Raises:
        SourceError: No weights, none picked of several, or a shard that is not there.
        CheckpointError: The sharding index is damaged.
        OSError: And whatever else huggingface_hub raises; see `explained`.
    """
    selection = select_files(repository.sizes, ref.name, ref.file)
    fetch_missing(
        repository, selection.beside, destination, ref.text, retry=retry, on_bytes=on_bytes
    )
    weights = selection.weights or selection.shards(destination.folder)
    absent = [name for name in weights if name not in repository.files]
    if absent:
        raise SourceError(
            f"{ref.name}: {selection.index} names {absent[0]}, which the repository lacks",
            "Choose another revision, or report it to the model's authors",
        )
    return replace(selection, weights=weights)


def fetch_missing(
    repository: Repository,
    names: Sequence[str],
    destination: Destination,
    what: str,
    progress: DownloadProgress | None = None,
    retry: RetryPolicy | None = None,
    on_bytes: Callable[[int], None] = lambda count: None,
) -> None:
    """Fetch those files of a repository that are not on this disk with the right length.

    Args:
        repository: From `list_repository`.
        names: The wanted files.
        destination: Where they go.
        what: What needs them, for messages.
        progress: Shows how far it is, if a file is missing; None for nothing.
        retry: When to give up on a file.
        on_bytes: See `fetch_files`.

    Raises:
        SourceError: No space, or a file that cannot be had.
        OSError: And whatever else huggingface_hub raises; see `explained`.
    """
    check_names(names, what)
    missing = [name for name in names if destination.find(repository.files[name]) is None]
    requests = [repository.request(name) for name in missing]
    if requests:
        space_for(requests, destination, what)
        fetch_files(requests, destination, retry=retry, progress=progress, on_bytes=on_bytes)
