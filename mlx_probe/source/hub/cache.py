"""huggingface_hub's cache as the destination of a repository's files, in its documented layout.

blobs/<hash> holds the contents, snapshots/<commit>/<name> links to them, refs/<branch> holds the
commit. The links are made here, not by huggingface_hub's download: that would ask the Hub once
more for each file, and would fetch, unverified, each file that it believes to be missing.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from mlx_probe.core.errors import SourceError
from mlx_probe.core.files import atomic_replace
from mlx_probe.core.sharding import is_inside
from mlx_probe.source.transfer.destination import has_size, locked, open_partial
from mlx_probe.source.transfer.digest import PublishedFile

__all__ = ["CacheDestination"]


class CacheDestination:
    """A repository at one commit, in huggingface_hub's cache.

    Args:
        repository: Its id.
        commit: The commit.
        kind: See `Repository`.
    """

    variable = "HF_HOME"

    def __init__(self, repository: str, commit: str, kind: str = "model") -> None:
        from huggingface_hub import constants
        from huggingface_hub.file_download import repo_folder_name

        name = repo_folder_name(repo_id=repository, repo_type=kind)
        self._cache = Path(constants.HF_HUB_CACHE)
        self._storage = self._cache / name
        self._locks = self._cache / ".locks" / name
        self.folder = self._storage / "snapshots" / commit
        self._commit = commit

    def find(self, file: PublishedFile) -> Path | None:
        """See `Destination`."""
        path = self.folder / file.name
        if has_size(path, file):
            return path
        blob = self._blob(file)
        if blob is not None and has_size(blob, file):
            # Another commit has the same content.
            return self._link(file, blob)
        return None

    def partial_size(self, key: str) -> int:
        """See `Destination`."""
        with suppress(OSError):
            return self._partial(key).lstat().st_size
        return 0

    @contextmanager
    def lock(self, key: str) -> Iterator[None]:
        """See `Destination`."""
        self._locks.mkdir(parents=True, exist_ok=True)
        with locked(self._locks / f"{key}.lock"):
            yield

    def open_partial(self, key: str) -> AbstractContextManager[BinaryIO]:
        """See `Destination`."""
        partial = self._partial(key)
        partial.parent.mkdir(parents=True, exist_ok=True)
        return open_partial(partial)

    def keep(self, file: PublishedFile, key: str) -> Path:
        """See `Destination`."""
        blob = self._partial(key).replace(self._storage / "blobs" / key)
        return self._link(file, blob)

    def remember(self, revision: str | None) -> None:
        """Note the commit of a branch or tag, to find it without a connection.

        Only when all files are there: until then the branch means an older, complete copy.

        Args:
            revision: The branch or tag; None for the default branch.
        """
        from huggingface_hub import constants

        revision = revision or constants.DEFAULT_REVISION
        if revision == self._commit or not is_inside(revision):
            return
        ref = self._storage / "refs" / revision
        # A cache that cannot be written may still be read.
        with suppress(OSError):
            if ref.exists() and ref.read_text("utf-8") == self._commit:
                return
            ref.parent.mkdir(parents=True, exist_ok=True)
            with atomic_replace(ref, scratch=ref.parent, flush=False) as new:
                new.write_text(self._commit, "utf-8")

    def _blob(self, file: PublishedFile) -> Path | None:
        return None if file.etag is None else self._storage / "blobs" / file.etag

    def _partial(self, key: str) -> Path:
        return self._storage / "blobs" / f"{key}.incomplete"

    def _link(self, file: PublishedFile, blob: Path) -> Path:
        """Name a blob in the snapshot, by a symbolic link, a hard link or a copy."""
        path = self.folder / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise SourceError(f"{path} is a folder, not a file", "Delete it from the cache")
        if path.is_symlink() and path.resolve() == blob.resolve():
            return path
        target = os.path.relpath(blob, path.parent)
        with atomic_replace(path, scratch=self._storage, flush=False) as new:
            try:
                new.symlink_to(target)
            except OSError:
                try:
                    new.hardlink_to(blob)
                except OSError:
                    shutil.copyfile(blob, new)
        return path
