"""Models on the Hugging Face Hub, through huggingface_hub and its cache."""

from __future__ import annotations

import glob
import logging
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.filesize import decimal

from mlx_probe.errors import SourceError
from mlx_probe.records import ModelFiles, ModelRef
from mlx_probe.source.selection import select_files

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

__all__ = ["fetch"]

_log = logging.getLogger(__name__)


def fetch(ref: ModelRef, quiet: bool = False) -> ModelFiles:
    """Download what the analysis needs, or find it in the cache.

    Cache, endpoint and token are huggingface_hub's: HF_HOME, HF_ENDPOINT, HF_TOKEN,
    HF_HUB_OFFLINE. Without a connection a complete copy in the cache will do.

    Args:
        ref: Repository, revision (None for the default branch), file to pick among several.
        quiet: Whether to draw no progress bars.

    Raises:
        SourceError: Repository or revision missing, access denied, no connection, disk full,
            or a file that is not as long as the Hub says.
        CheckpointError: The sharding index is damaged.
    """
    from huggingface_hub import HfApi, constants

    # The base class is of whichever HTTP library this release of huggingface_hub uses.
    from huggingface_hub.errors import HfHubHTTPError, HTTPError  # type: ignore[attr-defined]
    from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]

    if quiet or not sys.stderr.isatty():
        disable_progress_bars()
    # huggingface_hub reads the variable once, when it is imported; a notebook may set it later.
    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT") or constants.ENDPOINT)
    try:
        return _download(api, ref)
    except HfHubHTTPError as error:
        raise _refused(ref, error) from error
    except (HTTPError, ConnectionError, TimeoutError, FileNotFoundError) as error:
        _log.warning("%s: no connection to the Hub (%s)", ref.text, _first_line(error))
        return _find_in_cache(api, ref, error)
    except OSError as error:
        raise SourceError(
            f"cannot download {ref.text}: {_first_line(error)}",
            "Free space or mend the cache (HF_HOME), then run the same command again: "
            "what is complete is kept",
        ) from error


def _download(api: HfApi, ref: ModelRef) -> ModelFiles:
    info = api.model_info(ref.name, revision=ref.revision, files_metadata=True)
    if info.sha is None:
        raise SourceError(f"{ref.name}: the Hub names no commit", "Try again later")
    listing = {file.rfilename: file.size or 0 for file in info.siblings or ()}
    selection = select_files(listing, ref.name, ref.file)
    small = [name for name in (selection.index, selection.config) if name is not None]
    folder = _snapshot(api, ref, info.sha, small, listing) if small else Path()
    weights = selection.weights or selection.shards(folder)
    for name in weights:
        if name not in listing:
            raise SourceError(
                f"{ref.name}: {selection.index} names {name}, which the repository lacks",
                "Choose another revision, or report it to the model's authors",
            )
    folder = _snapshot(api, ref, info.sha, weights, listing)
    return selection.resolve(folder, ref.name, info.sha, folder)


def _snapshot(
    api: HfApi, ref: ModelRef, commit: str, names: Sequence[str], listing: Mapping[str, int]
) -> Path:
    """Files of a commit in the cache, each as long as the Hub says; returns their folder."""
    from huggingface_hub import constants, try_to_load_from_cache

    missing = [
        name
        for name in names
        if not isinstance(try_to_load_from_cache(ref.name, name, revision=commit), str)
    ]
    needed = sum(listing[name] for name in missing)
    cache = Path(constants.HF_HUB_CACHE)
    cache.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(cache).free
    if needed > free:
        raise SourceError(
            f"{ref.text} needs {decimal(needed)} more in {cache}, which has {decimal(free)} free",
            "Free space there, or set HF_HOME to a larger disk",
        )
    folder = Path(
        api.snapshot_download(
            ref.name, revision=commit, allow_patterns=[glob.escape(name) for name in names]
        )
    )
    for name in names:
        found = (folder / name).stat().st_size
        if found != listing[name]:
            raise SourceError(
                f"{folder / name} has {found} bytes; the Hub says {listing[name]}",
                "Delete that file and run the same command again",
            )
    return folder


def _find_in_cache(api: HfApi, ref: ModelRef, cause: Exception) -> ModelFiles:
    from huggingface_hub.errors import IncompleteSnapshotError, LocalEntryNotFoundError

    missing = SourceError(
        f"{ref.text} is not complete in the cache, and the Hub cannot be reached: "
        f"{_first_line(cause)}",
        "Check the connection, HF_ENDPOINT and HF_HUB_OFFLINE, then run the same command again",
    )
    try:
        folder = Path(api.snapshot_download(ref.name, revision=ref.revision, local_files_only=True))
    except IncompleteSnapshotError as error:
        # Incomplete as a repository; whether as a model, the files below tell.
        folder = Path(error.snapshot_path)
    except (LocalEntryNotFoundError, ValueError) as error:
        raise missing from error
    paths = [path for path in folder.rglob("*") if path.is_file()]
    listing = {path.relative_to(folder).as_posix(): path.stat().st_size for path in paths}
    files = select_files(listing, ref.text, ref.file).resolve(folder, ref.name, folder.name, folder)
    if not all(path.is_file() for path in files.weights):
        raise missing
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
    status = error.response.status_code
    return SourceError(
        f"the Hub answers {status} for {ref.text}",
        "Try again later" if status >= 500 or status == 429 else "Check your token and HF_ENDPOINT",
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
