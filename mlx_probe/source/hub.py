"""Models on the Hugging Face Hub, through huggingface_hub and its cache."""

from __future__ import annotations

import glob
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mlx_probe.errors import SourceError
from mlx_probe.records import ModelFiles, ModelRef
from mlx_probe.source.cache import require_space
from mlx_probe.source.selection import find_weights, select_files

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

__all__ = ["fetch"]

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
    from huggingface_hub import HfApi, constants

    # HTTPError is the base class of whichever HTTP library this huggingface_hub uses.
    from huggingface_hub.errors import (  # type: ignore[attr-defined]
        HfHubHTTPError,
        HTTPError,
        LocalEntryNotFoundError,
    )
    from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]

    if quiet or not sys.stderr.isatty():
        disable_progress_bars()
    # huggingface_hub reads the variable once, when it is imported; a notebook may set it later.
    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT") or constants.ENDPOINT)
    try:
        return _download(api, ref)
    except HfHubHTTPError as error:
        if error.response.status_code < 500 and error.response.status_code != 429:
            raise _refused(ref, error) from error
        unreachable: Exception = error
    except (HTTPError, ConnectionError, TimeoutError, LocalEntryNotFoundError) as error:
        unreachable = error
    # RuntimeError is what hf_xet, the Hub's own transfer library, has for most failures.
    except (OSError, RuntimeError) as error:
        raise SourceError(
            f"cannot download {ref.text}: {_reason(error)}",
            "Check the connection and the disk of the cache (HF_HOME), then run the same "
            "command again: what is complete is kept",
        ) from error
    except ValueError as error:
        # A name that the Hub does not allow, or an answer that is not the Hub's.
        raise SourceError(
            f"cannot download {ref.text}: {_reason(error)}",
            "Check the spelling of the model and HF_ENDPOINT",
        ) from error
    _log.warning("%s: no answer from the Hub (%s)", ref.text, _reason(unreachable))
    return _find_in_cache(api, ref, unreachable)


def _download(api: HfApi, ref: ModelRef) -> ModelFiles:
    info = api.model_info(ref.name, revision=ref.revision, files_metadata=True)
    listing = {file.rfilename: file.size or 0 for file in info.siblings or ()}
    selection = select_files(listing, ref.name, ref.file)
    beside = [name for name in (selection.index, selection.config) if name is not None]
    folder = _snapshot(api, ref, info.sha, beside, listing) if beside else Path()
    weights = selection.weights or selection.shards(folder)
    absent = [name for name in weights if name not in listing]
    if absent:
        raise SourceError(
            f"{ref.name}: {selection.index} names {absent[0]}, which the repository lacks",
            "Choose another revision, or report it to the model's authors",
        )
    folder = _snapshot(api, ref, info.sha, weights, listing)
    return selection.resolve(folder, ref.name, folder.name, folder)


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


def _find_in_cache(api: HfApi, ref: ModelRef, unreachable: Exception) -> ModelFiles:
    from huggingface_hub.errors import LocalEntryNotFoundError

    incomplete = SourceError(
        f"{ref.text} is not complete in the cache, and the Hub does not answer: "
        f"{_reason(unreachable)}",
        "Check the connection, HF_ENDPOINT and HF_HUB_OFFLINE, then run the same command again",
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


def _refused(ref: ModelRef, error: HfHubHTTPError) -> SourceError:
    from huggingface_hub.errors import (
        GatedRepoError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    # Gated first: it is a kind of repository not found.
    if isinstance(error, GatedRepoError):
        return SourceError(
            f"{ref.name} is gated: the Hub gives it only to accounts that accepted its terms",
            "Accept them on the model's page, then log in with `hf auth login` or set HF_TOKEN",
        )
    if isinstance(error, RepositoryNotFoundError):
        return SourceError(
            f"the Hub has no model {ref.name}, or it is private",
            "Check the spelling; for a private model log in with `hf auth login` or set HF_TOKEN",
        )
    if isinstance(error, RevisionNotFoundError):
        return SourceError(
            f"{ref.name} has no revision {ref.revision!r}",
            "Give a branch, tag or full commit hash of the repository",
        )
    return SourceError(
        f"the Hub answers {error.response.status_code} for {ref.text}",
        "Check the reference, your token (HF_TOKEN) and HF_ENDPOINT",
    )


def _reason(error: BaseException) -> str:
    # A file that is not in the cache either is wrapped around what went wrong with the Hub.
    error = error.__cause__ or error if isinstance(error, FileNotFoundError) else error
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
