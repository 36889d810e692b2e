"""The cache of huggingface_hub."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from mlx_probe.source.hub.status import hub_cache
from mlx_probe.source.stores.discovery import HUB_URL, is_file, list_folder, models_in
from mlx_probe.source.stores.protocol import OnProblem, Store, StoredModel

__all__ = ["HUB"]

_REPOSITORY = re.compile(r"models--(?P<id>.+)")


def _folders() -> list[Path]:
    return [Path(hub_cache())]


def _find(cache: Path, on_problem: OnProblem) -> Iterator[StoredModel]:
    """Yield every revision of every model in a cache of huggingface_hub."""
    from huggingface_hub import scan_cache_dir

    try:
        repositories = scan_cache_dir(cache).repos
    except (OSError, ValueError):
        # The library gives up on the whole cache for one file that it cannot read.
        repositories = frozenset()
    known = {
        Path(repo.repo_path): [Path(revision.snapshot_path) for revision in repo.revisions]
        for repo in repositories
        if repo.repo_type == "model"
    }
    for repository in sorted(cache.resolve().iterdir()):
        match = _REPOSITORY.fullmatch(repository.name)
        if match is None:
            continue
        snapshots = known.get(repository)
        if snapshots is None:
            # The library leaves out a whole repository for one dangling link.
            try:
                snapshots = [path for path in (repository / "snapshots").iterdir() if path.is_dir()]
            except OSError as error:
                on_problem(repository, f"no snapshots: {os.strerror(error.errno or 0)}")
                continue
        for snapshot in sorted(snapshots):
            yield from _find_in_snapshot(snapshot, match["id"].replace("--", "/"), on_problem)


def _find_in_snapshot(snapshot: Path, name: str, on_problem: OnProblem) -> Iterator[StoredModel]:
    url = f"{HUB_URL}/{name}/tree/{snapshot.name}"
    waiting, is_first = [snapshot], True
    while waiting:
        folder = waiting.pop(0)
        try:
            listing, below = list_folder(folder)
        except OSError as error:
            on_problem(folder, os.strerror(error.errno or 0))
            continue
        waiting += sorted(below)
        within = folder.relative_to(snapshot).as_posix()
        # The shallowest folder with weights is the model; deeper ones are other editions of it.
        label = name if is_first else f"{name}:{within}"
        for stored in models_in("hub", folder, listing, label, snapshot.name, url):
            is_first = False
            hashes = {}
            for path in stored.weights:
                # Blobs of Git LFS are named by SHA-256, others by SHA-1; a blob may be a link.
                digest = path.readlink().name if path.is_symlink() else ""
                if re.fullmatch(r"[0-9a-f]{64}", digest):
                    hashes[path] = digest
            card = snapshot / "README.md"
            readme = stored.readme or (card if is_file(card) else None)
            yield replace(stored, hashes=hashes, readme=readme, certain=True)


HUB = Store("Hugging Face cache", _folders, _find, kept_whole=True)
