"""Models on the Hugging Face Hub, through huggingface_hub and its cache."""

from __future__ import annotations

import glob
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlx_probe.errors import SourceError
from mlx_probe.records import ModelFiles, ModelRef
from mlx_probe.source.hub_errors import UnreachableError, explained
from mlx_probe.source.selection import Selection, find_weights, select_files
from mlx_probe.source.space import require_space

if TYPE_CHECKING:
    from huggingface_hub import HfApi

__all__ = ["Listing", "connect", "fetch", "read_listing"]

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
            or a file that is not as long as the Hub says.
        CheckpointError: The sharding index is damaged.
    """
    api = connect(quiet)
    try:
        with explained(ref):
            listed = read_listing(api, ref)
            folder = _snapshot(api, ref, listed.commit, listed.weights, listed.sizes)
            return listed.selection.resolve(folder, ref.name, folder.name, folder)
    except UnreachableError as error:
        _log.warning("%s: no answer from the Hub (%s)", ref.text, error.reason)
        return _find_in_cache(api, ref, error)


@dataclass(frozen=True)
class Listing:
    """A repository at one commit, with its small files in the cache.

    Attributes:
        commit: The commit.
        sizes: Bytes of every file by name; 0 where a mirror of the Hub leaves it out.
        selection: The files that an analysis needs.
        weights: Names of the weight files.
        folder: The commit's folder in the cache; None if neither index nor config is there.
    """

    commit: str
    sizes: Mapping[str, int]
    selection: Selection
    weights: tuple[str, ...]
    folder: Path | None


def connect(quiet: bool) -> HfApi:
    """The Hub at the endpoint that is set now; ``quiet`` draws no progress bars."""
    from huggingface_hub import HfApi, constants
    from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]

    if quiet or not sys.stderr.isatty():
        disable_progress_bars()
    # huggingface_hub reads the variable once, when it is imported; a notebook may set it later.
    return HfApi(endpoint=os.environ.get("HF_ENDPOINT") or constants.ENDPOINT)


def read_listing(api: HfApi, ref: ModelRef) -> Listing:
    """List a repository, choose its files, and fetch index and config into the cache.

    Args:
        api: From `connect`.
        ref: Repository, revision, file to pick among several.

    Raises:
        SourceError: No weights, none picked of several, or a shard that is not there.
        CheckpointError: The sharding index is damaged.
        OSError: And whatever else huggingface_hub raises; see `explained`.
    """
    info = api.model_info(ref.name, revision=ref.revision, files_metadata=True)
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
    selection = select_files(sizes, ref.name, ref.file)
    beside = [name for name in (selection.index, selection.config) if name is not None]
    folder = _snapshot(api, ref, info.sha, beside, sizes) if beside else None
    weights = selection.weights or selection.shards(folder or Path())
    absent = [name for name in weights if name not in sizes]
    if absent:
        raise SourceError(
            f"{ref.name}: {selection.index} names {absent[0]}, which the repository lacks",
            "Choose another revision, or report it to the model's authors",
        )
    return Listing(info.sha or "", sizes, selection, weights, folder)


def _snapshot(
    api: HfApi,
    ref: ModelRef,
    commit: str | None,
    names: Sequence[str],
    listing: Mapping[str, int],
) -> Path:
    """Files of a commit in the cache, each as long as the Hub says; returns their folder."""
    from huggingface_hub import constants, try_to_load_from_cache

    missing = [
        name
        for name in names
        if not isinstance(try_to_load_from_cache(ref.name, name, revision=commit), str)
    ]
    cache = Path(constants.HF_HUB_CACHE)
    cache.mkdir(parents=True, exist_ok=True)
    require_space(cache, sum(listing[name] for name in missing), ref.text, "HF_HOME")
    # By the user's revision, not by commit: only so does the cache learn which commit a branch
    # is at, and finds it again without a connection.
    folder = Path(
        api.snapshot_download(
            ref.name, revision=ref.revision, allow_patterns=[glob.escape(name) for name in names]
        )
    )
    if folder.name != commit:
        raise SourceError(
            f"{ref.name} moved from commit {commit} to {folder.name} during the download",
            "Run the same command again",
        )
    for name in names:
        found = (folder / name).stat().st_size
        # Mirrors of the Hub may leave sizes out.
        if listing[name] and found != listing[name]:
            raise SourceError(
                # The blob behind the link: without the link alone, the blob would be taken again.
                f"{(folder / name).resolve()}, in the cache as {name}, has {found} bytes; "
                f"the Hub says {listing[name]}",
                "Delete that file and run the same command again",
            )
    return folder


def _find_in_cache(api: HfApi, ref: ModelRef, unreachable: UnreachableError) -> ModelFiles:
    from huggingface_hub.errors import LocalEntryNotFoundError

    incomplete = SourceError(
        f"{ref.text} is not complete in the cache, and the Hub does not answer: "
        f"{unreachable.reason}",
        unreachable.remedy,
    )
    try:
        # No patterns: whether the snapshot is complete as a repository does not matter here.
        folder = Path(
            api.snapshot_download(
                ref.name, revision=ref.revision, allow_patterns=[], local_files_only=True
            )
        )
    except (LocalEntryNotFoundError, ValueError) as error:
        raise incomplete from error
    paths = [path for path in folder.rglob("*") if path.is_file()]
    listing = {path.relative_to(folder).as_posix(): path.stat().st_size for path in paths}
    if not find_weights(listing, ref.file):
        raise incomplete from unreachable
    files = select_files(listing, ref.text, ref.file).resolve(folder, ref.name, folder.name, folder)
    if not all(path.is_file() for path in files.weights):
        raise incomplete from unreachable
    return files
