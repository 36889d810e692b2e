"""Old revisions in the Hub's cache: snapshots without a reference, and contents without a user."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mlx_probe.library.space.gathering import hub_folder
from mlx_probe.library.space.needs import Needs
from mlx_probe.library.space.records import Item, Survey
from mlx_probe.library.space.usage import usage

__all__ = ["UnknownLayout", "find_old_revisions", "repositories"]

_FOLDER = re.compile(r"(?:models|datasets|spaces)--(?P<id>.+)")
_COMMIT = re.compile(r"[0-9a-f]{40}")
# Git's hashes and those of large files.
_BLOB = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_WHY = "no reference points to it, and no run, model, link or program needs it"


class UnknownLayout(Exception):  # noqa: N818  nothing failed
    """A repository is not laid out as huggingface_hub does it; the text says where."""


@dataclass(frozen=True)
class _Repository:
    """A repository in the cache.

    Attributes:
        folder: Its folder.
        id: Its name.
        commits: What its references point to, by reference.
        snapshots: Snapshot to the contents that it links to.
        blobs: Contents that are files.
    """

    folder: Path
    id: str
    commits: Mapping[str, str]
    snapshots: Mapping[Path, frozenset[Path]]
    blobs: Mapping[Path, os.stat_result]


def repositories(survey: Survey) -> Iterator[Path]:
    """The folders of all repositories in the cache."""
    try:
        found = sorted(hub_folder().iterdir())
    except FileNotFoundError:
        return
    except OSError as error:
        survey.troubles.append((hub_folder(), error.strerror or str(error)))
        return
    for folder in found:
        if _FOLDER.fullmatch(folder.name) and not folder.is_symlink():
            yield folder


def find_old_revisions(needs: Needs, survey: Survey) -> Iterator[Item]:
    """An item for each repository that has something that may go.

    A repository goes by as a whole where anything in it cannot be read or is not understood.
    """
    for folder in repositories(survey):
        try:
            repository = _read(folder)
        except UnknownLayout as error:
            survey.troubles.append((folder, str(error)))
            continue
        except OSError as error:
            survey.troubles.append((folder, error.strerror or str(error)))
            continue
        kept = _kept(repository, needs)
        for path, why in kept.items():
            survey.keep("old-revisions", path, why)
        if (item := _item(repository, kept, needs, survey)) is not None:
            yield item


def _item(
    repository: _Repository, kept: Mapping[Path, str], needs: Needs, survey: Survey
) -> Item | None:
    old = [path for path in repository.snapshots if path not in kept]
    held = {blob for path in kept for blob in repository.snapshots[path]}
    freed = []
    for blob, status in repository.blobs.items():
        if blob in held:
            continue
        if why := _why_blob(blob, status, needs) or _why_repository(repository, needs):
            survey.keep("old-revisions", blob, why)
        elif _BLOB.fullmatch(blob.name):
            freed.append(blob)
    paths = (*old, *freed)
    if not paths:
        return None
    try:
        taken = usage(paths)
    except OSError as error:
        survey.troubles.append((repository.folder, error.strerror or str(error)))
        return None
    names = ", ".join(path.name[:8] for path in old)
    name = f"{repository.id}: {names or 'contents that no revision has'}"
    return Item("old-revisions", name, paths, repository.folder, taken.size, taken.disk, _WHY)


def _kept(repository: _Repository, needs: Needs) -> dict[Path, str]:
    """The snapshots that stay, and why."""
    kept = {
        path: why
        for path in repository.snapshots
        if (why := _why_snapshot(repository, path, needs))
    }
    held = {blob for path in kept for blob in repository.snapshots[path]}
    for path, blobs in repository.snapshots.items():
        if path in kept:
            continue
        for blob in sorted(blobs - held):
            if why := _why_blob(blob, repository.blobs.get(blob), needs):
                kept[path] = why
                break
    return kept


def _why_snapshot(repository: _Repository, path: Path, needs: Needs) -> str:
    for reference, commit in repository.commits.items():
        if commit == path.name:
            return f"the reference {reference} points to it"
    if why := needs.commits.get(path.name) or _why_repository(repository, needs):
        return why
    if why := needs.reason(path):
        return why
    outside = usage([path]).outside
    return f"{outside[0]} has further names elsewhere" if outside else ""


def _why_repository(repository: _Repository, needs: Needs) -> str:
    name = repository.id.lower()
    if why := needs.obstacle() or needs.repositories.get(name) or needs.spelled(repository.id):
        return why
    # A name means what its references point to: without any, nobody can say what that is.
    return needs.named.get(name, "") if not repository.commits else ""


def _why_blob(blob: Path, status: os.stat_result | None, needs: Needs) -> str:
    if status is None:
        # A dangling link holds nothing; anything else is not ours to judge.
        return f"{blob} is no file" if os.path.lexists(blob) else ""
    if status.st_nlink > 1:
        return f"{blob} has further names elsewhere"
    return needs.reason(blob)


def _read(folder: Path) -> _Repository:
    """A repository's parts.

    Raises:
        UnknownLayout: Something in it is not what huggingface_hub puts there.
        OSError: Something cannot be read.
    """
    match = _FOLDER.fullmatch(folder.name)
    blobs, snapshots = folder / "blobs", folder / "snapshots"
    for part in (blobs, snapshots, folder / "refs"):
        if os.path.lexists(part) and not stat.S_ISDIR(part.lstat().st_mode):
            raise UnknownLayout(f"{part.name} is no folder")
    files = {}
    for blob in _entries(blobs):
        status = blob.lstat()
        if stat.S_ISREG(status.st_mode) and not blob.name.endswith(".incomplete"):
            files[blob] = status
    found = {}
    for snapshot in _entries(snapshots):
        if not stat.S_ISDIR(snapshot.lstat().st_mode) or not _COMMIT.fullmatch(snapshot.name):
            raise UnknownLayout(f"{snapshot.name} in snapshots is no revision")
        found[snapshot] = frozenset(_contents(snapshot, blobs))
    name = match["id"].replace("--", "/") if match else folder.name
    return _Repository(folder, name, dict(_commits(folder / "refs")), found, files)


def _entries(folder: Path) -> list[Path]:
    """What is in a folder, without hidden files such as those of Finder; [] if it is not there."""
    if not os.path.lexists(folder):
        return []
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _contents(snapshot: Path, blobs: Path) -> Iterator[Path]:
    """The contents that a snapshot links to."""
    waiting = [snapshot]
    while waiting:
        for path in waiting.pop().iterdir():
            mode = path.lstat().st_mode
            if stat.S_ISDIR(mode):
                waiting.append(path)
            elif stat.S_ISLNK(mode):
                target = Path(os.path.normpath(path.parent / path.readlink()))
                if target.parent != blobs:
                    raise UnknownLayout(f"{path.name} in a snapshot leads to {target}")
                yield target
            elif not stat.S_ISREG(mode):
                raise UnknownLayout(f"{path.name} in a snapshot is no file")


def _commits(refs: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(refs.rglob("*")):
        if path.name.startswith(".") or stat.S_ISDIR(path.lstat().st_mode):
            continue
        commit = path.read_bytes()[:80].decode("utf-8", "replace").strip()
        if not _COMMIT.fullmatch(commit):
            raise UnknownLayout(f"the reference {path.name} is no commit")
        yield path.relative_to(refs).as_posix(), commit
