"""Models on the Hugging Face Hub, in huggingface_hub's cache."""

from __future__ import annotations

import logging
from pathlib import Path

from mlx_probe.core.errors import SourceError
from mlx_probe.core.records import ModelFiles, ModelRef
from mlx_probe.source.hub.cache import CacheDestination
from mlx_probe.source.hub.choice import choose_files, fetch_missing
from mlx_probe.source.hub.errors import UnreachableError, explained
from mlx_probe.source.hub.listing import list_repository
from mlx_probe.source.protocol import ListingOptions
from mlx_probe.source.selection import find_weights, select_files
from mlx_probe.source.transfer.destination import Destination, FolderDestination
from mlx_probe.source.transfer.listing import ModelListing
from mlx_probe.source.transfer.progress import DownloadProgress
from mlx_probe.source.transfer.request import shown_address
from mlx_probe.source.transfer.resumable import TransferError

__all__ = ["fetch", "list_model"]

_log = logging.getLogger(__name__)


def fetch(ref: ModelRef, progress: DownloadProgress | None = None) -> ModelFiles:
    """Download what the analysis needs, or find it in the cache.

    Cache, endpoint and token are huggingface_hub's: HF_HOME, HF_ENDPOINT, HF_TOKEN,
    HF_HUB_OFFLINE. While the Hub cannot be reached, a complete copy in the cache is enough.

    Args:
        ref: Repository, revision (None for the default branch), file to pick among several.
        progress: Shows how far the weight files are; None for nothing.

    Raises:
        SourceError: Repository or revision missing, access denied, no connection, disk full,
            or a file that does not arrive as it was published.
        CheckpointError: The sharding index is damaged.
    """
    try:
        with explained(ref):
            repository = list_repository(ref)
            destination = CacheDestination(ref.name, repository.commit)
            chosen = choose_files(repository, ref, destination)
            fetch_missing(repository, chosen.weights, destination, ref.text, progress)
            destination.remember(ref.revision)
            folder = destination.folder
            return chosen.resolve(folder, ref.name, repository.commit, folder)
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


def list_model(ref: ModelRef, options: ListingOptions) -> ModelListing:
    """List a repository and choose its files; see `ListModel`.

    Raises:
        SourceError: Repository or revision missing, access denied, mirrors that disagree, or no
            connection.
        CheckpointError: The sharding index is damaged.
        OSError: And whatever else huggingface_hub raises; see `explained`.
    """
    repository = list_repository(ref, options.endpoints, options.retry)
    cache = CacheDestination(ref.name, repository.commit)
    folder = options.folder
    destination: Destination = cache if folder is None else FolderDestination(folder)
    # The index names the shards. A dry run needs it too, and may keep it in the cache.
    chosen = choose_files(
        repository, ref, cache if options.dry else destination, options.retry, options.on_bytes
    )
    return ModelListing(
        source="hub",
        model=ref.name,
        revision=repository.commit,
        endpoint=shown_address(repository.endpoints[0]),
        files=repository.files,
        chosen=(*chosen.beside, *chosen.weights),
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
        # No patterns: only the files that an analysis needs must be there.
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
