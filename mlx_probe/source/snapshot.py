"""A repository's folder in huggingface_hub's cache, given as a path.

``models--owner--name`` holds ``blobs``, ``refs`` (branch to commit) and ``snapshots`` (a folder of
links for each commit).
"""

from __future__ import annotations

from pathlib import Path

from mlx_probe.core.errors import SourceError

__all__ = ["repository_of", "snapshot_of"]

_PREFIX = "models--"
_MAX_REF = 1000


def snapshot_of(folder: Path) -> Path | None:
    """The folder with the files of a commit; None if a folder is not of the cache.

    Args:
        folder: A repository's folder, where the branch ``main`` is meant, or a snapshot in it.

    Raises:
        SourceError: Several commits, none of them that of ``main``; or none at all.
        OSError: The folder cannot be read.
    """
    snapshots = folder / "snapshots"
    if folder.parent.name == "snapshots" and folder.parents[1].name.startswith(_PREFIX):
        return folder
    if not folder.name.startswith(_PREFIX) or not snapshots.is_dir():
        return None
    commits = sorted(path for path in snapshots.iterdir() if path.is_dir())
    main = _read_ref(folder / "refs" / "main")
    chosen = [path for path in commits if path.name == main] or commits
    if len(chosen) == 1:
        return chosen[0]
    raise SourceError(
        f"{folder} has {len(commits) or 'no'} snapshots and no commit of the branch main",
        f"Give one of them: {chosen[0]}" if chosen else "Download the model again",
    )


def repository_of(snapshot: Path) -> str:
    """The repository's id, ``owner/name``."""
    return snapshot.parents[1].name.removeprefix(_PREFIX).replace("--", "/")


def _read_ref(path: Path) -> str:
    """The commit of a branch; "" if it is not known."""
    try:
        with path.open("rb") as file:
            return file.read(_MAX_REF).decode("utf-8", "replace").strip()
    except OSError:
        return ""
