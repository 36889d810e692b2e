"""Models on the Hugging Face Hub of which only the headers are read."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from mlx_probe.core.errors import ConfigError
from mlx_probe.core.records import ModelFiles, ModelRef
from mlx_probe.source.hub.cache import CacheDestination
from mlx_probe.source.hub.choice import choose_files
from mlx_probe.source.hub.errors import explained
from mlx_probe.source.hub.listing import list_repository
from mlx_probe.source.transfer.progress import DownloadProgress
from mlx_probe.source.transfer.remote_file import RemoteOpener, RemoteShard

__all__ = ["fetch_remote"]


def fetch_remote(ref: ModelRef, progress: DownloadProgress | None = None) -> ModelFiles:
    """Fetch a model's index and config; its weight files stay on the Hub.

    Endpoint and token are huggingface_hub's, as for downloads. Everything is read from the
    commit that the revision means now.

    Args:
        ref: Repository, revision (None for the default branch), file to pick among several.
        progress: Not used: index and config are small.

    Returns:
        Files whose ``weights`` are the paths they would have in the cache, and whose
        ``opener`` is a `RemoteOpener`.

    Raises:
        ConfigError: HF_HUB_OFFLINE is set.
        SourceError: Repository or revision missing, access denied, or no connection.
        CheckpointError: The sharding index is damaged.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise ConfigError(
            f"{ref.text} cannot be read from the Hub while HF_HUB_OFFLINE is set",
            "Unset it, or drop --remote to read the copy in the cache",
        )
    with explained(ref):
        repository = list_repository(ref)
        destination = CacheDestination(ref.name, repository.commit)
        chosen = choose_files(repository, ref, destination)
    # The index names the shards relative to itself.
    root = destination.folder if chosen.beside else Path(ref.name)
    shards = {
        root / name: RemoteShard(
            f"{ref.name}/{name}", repository.files[name], repository.addresses(name)[0]
        )
        for name in chosen.weights
    }
    files = chosen.resolve(root, ref.name, repository.commit, Path(ref.name))
    return replace(files, opener=RemoteOpener(shards, partial(explained, ref)))
