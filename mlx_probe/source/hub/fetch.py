"""Models on the Hugging Face Hub, in huggingface_hub's cache."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlx_probe.core.errors import SourceError
from mlx_probe.core.records import ModelFiles, ModelRef
from mlx_probe.source.hub.cache import CacheDestination
from mlx_probe.source.hub.errors import UnreachableError, explained
from mlx_probe.source.hub.listing import Repository, list_repository
from mlx_probe.source.selection import Selection, find_weights, select_files
from mlx_probe.source.transfer.batch import FileRequest, bring_all
from mlx_probe.source.transfer.destination import Destination, FolderDestination
from mlx_probe.source.transfer.digest import check_names
from mlx_probe.source.transfer.disk_space import space_for
from mlx_probe.source.transfer.http_range import shown_address
from mlx_probe.source.transfer.listing import ModelListing
from mlx_probe.source.transfer.progress import DownloadProgress, watching
from mlx_probe.source.transfer.resumable import TransferError
from mlx_probe.source.transfer.retry import RetryPolicy

__all__ = ["Choice", "choose", "fetch", "list_model", "need"]

_log = logging.getLogger(__name__)


def fetch(ref: ModelRef, quiet: bool = False) -> ModelFiles:
    """Download what the analysis needs, or find it in the cache.

    Cache, endpoint and token are huggingface_hub's: HF_HOME, HF_ENDPOINT, HF_TOKEN,
    HF_HUB_OFFLINE. While the Hub cannot be reached a complete copy in the cache will do.

    Args:
        ref: Repository, revision (None for the default branch), file to pick among several.
        quiet: Whether to draw no progress bars.

    Raises:
        SourceError: Repository or revision missing, access denied, no connection, disk full,
            or a file that does not arrive as it was published.
        CheckpointError: The sharding index is damaged.
    """
    try:
        with explained(ref):
            repository = list_repository(ref)
            destination = CacheDestination(ref.name, repository.commit)
            chosen = choose(repository, ref, destination)
            with watching(quiet) as progress:
                need(repository, chosen.weights, destination, ref.text, progress=progress)
            destination.remember(ref.revision)
            folder = destination.folder
            return chosen.selection.resolve(folder, ref.name, repository.commit, folder)
    except UnreachableError as error:
        _log.warning("%s: no answer from the Hub (%s)", ref.text, error.reason)
        return _find_in_cache(ref, error, error.reason)
    except TransferError as error:
        if not error.temporary:
            raise
        try:
            files = _find_in_cache(ref, error, error.fact)
        except SourceError:
            raise error from None
        _log.warning("%s: the copy in the cache, since %s", ref.text, error.fact)
        return files


@dataclass(frozen=True)
class Choice:
    """The files of a repository that an analysis needs.

    Attributes:
        selection: Index, configuration, and weights where no index tells them.
        weights: Names of the weight files.
    """

    selection: Selection
    weights: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, the small ones first."""
        beside = (self.selection.index, self.selection.config)
        return (*(name for name in beside if name is not None), *self.weights)


def choose(
    repository: Repository,
    ref: ModelRef,
    destination: Destination,
    retry: RetryPolicy | None = None,
    progress: DownloadProgress | None = None,
) -> Choice:
    """Choose a repository's files, and bring index and config to ``destination``.

    Args:
        repository: From `list_repository`.
        ref: Repository, file to pick among several.
        destination: Where the two small files go.
        retry: When to give up on a file.
        progress: Counts what arrives.

    Raises:
        SourceError: No weights, none picked of several, or a shard that is not there.
        CheckpointError: The sharding index is damaged.
        OSError: And whatever else huggingface_hub raises; see `explained`.
    """
    selection = select_files(repository.sizes, ref.name, ref.file)
    beside = [name for name in (selection.index, selection.config) if name is not None]
    need(repository, beside, destination, ref.text, retry, progress)
    weights = selection.weights or selection.shards(destination.folder)
    absent = [name for name in weights if name not in repository.files]
    if absent:
        raise SourceError(
            f"{ref.name}: {selection.index} names {absent[0]}, which the repository lacks",
            "Choose another revision, or report it to the model's authors",
        )
    return Choice(selection, weights)


def need(
    repository: Repository,
    names: Sequence[str],
    destination: Destination,
    what: str,
    retry: RetryPolicy | None = None,
    progress: DownloadProgress | None = None,
) -> None:
    """Have files of a repository in a place; those that are there, by name and length, stay.

    Args:
        repository: From `list_repository`.
        names: Which of its files.
        destination: Where they should be.
        what: What needs them, for messages.
        retry: When to give up on a file.
        progress: Draws how it goes.

    Raises:
        SourceError: No space, or a file that cannot be had.
        OSError: And whatever else huggingface_hub raises; see `explained`.
    """
    check_names(names, what)
    requests: list[FileRequest] = []
    for name in names:
        if destination.find(repository.files[name]) is None:
            requests.append(repository.request(name))
    if not requests:
        return
    space_for(requests, destination, what)
    progress = progress or DownloadProgress()
    progress.begin(requests, destination)
    bring_all(requests, destination, retry=retry, traffic=progress.traffic, on_done=progress.finish)


def list_model(
    ref: ModelRef,
    folder: Path | None = None,
    endpoints: Sequence[str] = (),
    retry: RetryPolicy | None = None,
    dry: bool = False,
    on_bytes: Callable[[int], None] = lambda count: None,
) -> ModelListing:
    """List a repository and choose its files; see `Supplier`.

    Raises:
        SourceError: Repository or revision missing, access denied, mirrors that disagree, or no
            connection.
        CheckpointError: The sharding index is damaged.
        OSError: And whatever else huggingface_hub raises; see `explained`.
    """
    repository = list_repository(ref, endpoints, retry)
    cache = CacheDestination(ref.name, repository.commit)
    destination: Destination = cache if folder is None else FolderDestination(folder)
    # The index tells which shards there are; only in the cache does nobody mind it.
    chosen = choose(
        repository, ref, cache if dry else destination, retry, DownloadProgress(on_bytes)
    )
    return ModelListing(
        source="hub",
        model=ref.name,
        revision=repository.commit,
        endpoint=shown_address(repository.endpoints[0]),
        files=repository.files,
        chosen=chosen.names,
        destination=destination,
        request=repository.request,
        on_complete=lambda: cache.remember(ref.revision) if folder is None else None,
    )


def _find_in_cache(ref: ModelRef, cause: SourceError, reason: str) -> ModelFiles:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    incomplete = SourceError(
        f"{ref.text} is not complete in the cache, and the Hub does not answer: {reason}",
        cause.remedy,
    )
    try:
        # No patterns: whether the snapshot is complete as a repository does not matter here.
        folder = Path(
            snapshot_download(
                ref.name, revision=ref.revision, allow_patterns=[], local_files_only=True
            )
        )
    except (LocalEntryNotFoundError, ValueError) as error:
        raise incomplete from error
    paths = [path for path in folder.rglob("*") if path.is_file()]
    listing = {path.relative_to(folder).as_posix(): path.stat().st_size for path in paths}
    if not find_weights(listing, ref.file):
        raise incomplete from cause
    files = select_files(listing, ref.text, ref.file).resolve(folder, ref.name, folder.name, folder)
    if not all(path.is_file() for path in files.weights):
        raise incomplete from cause
    return files
