"""What there is to back up: the given paths, and everything below them."""

from __future__ import annotations

import difflib
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlx_probe.core.errors import ConfigError

from .records import LeftOut

__all__ = ["Roots", "Seen", "reason", "resolve", "walk"]


@dataclass(frozen=True)
class Roots:
    """The paths of a backup.

    Attributes:
        base: The folder that they have in common. A restored path is the one below it.
        paths: Absolute, without links, none inside another.
    """

    base: Path
    paths: tuple[Path, ...]

    def below_base(self, path: str | Path) -> str:
        """A path as a snapshot names it."""
        path, base = os.fspath(path), os.fspath(self.base).rstrip("/") + "/"
        return path[len(base) :] if path.startswith(base) else os.path.relpath(path, base)


@dataclass(frozen=True, slots=True)
class Seen:
    """A file, folder or link on the disk.

    Attributes:
        path: Where it is.
        name: Its path below the base.
        status: What the system says of it, not of what a link leads to.
    """

    path: str
    name: str
    status: os.stat_result


def resolve(paths: Sequence[Path], repo: Path) -> Roots:
    """The paths of a backup, checked before anything is done.

    Args:
        paths: As the user gave them. A link is followed.
        repo: The archive, which must not be inside of what is backed up by name only.

    Raises:
        ConfigError: One is not there, or is the archive itself.
    """
    real = []
    for path in paths:
        if not path.exists():
            raise ConfigError(f"{path} does not exist", _near(path))
        real.append(path.resolve())
    archive = repo.resolve()
    for path in real:
        if path == archive or archive in path.parents:
            raise ConfigError(f"{path} is in the archive", "Choose what to back up, or --repo")
    outer = [p for p in sorted(set(real)) if not any(parent in real for parent in p.parents)]
    base = Path(os.path.commonpath([path.parent for path in outer]))
    return Roots(base, tuple(outer))


def _near(path: Path) -> str:
    try:
        names = [each.name for each in path.parent.iterdir()]
    except OSError:
        return "Check its folders"
    near = difflib.get_close_matches(path.name, names, n=1)
    return f"Did you mean {path.with_name(near[0])}?" if near else "Check its name"


def walk(roots: Roots, without: Path) -> Iterator[Seen | LeftOut]:
    """Everything below the roots, a folder before what is in it, in the order of the names.

    Args:
        roots: The paths.
        without: A folder that is left out: the archive.
    """
    skipped = os.fspath(without.resolve())
    known: set[str] = set()
    for root in roots.paths:
        # Folders between the base and a root are restored with their modes and times too.
        between = [each for each in reversed(root.parents) if roots.base in each.parents]
        for folder in map(os.fspath, between):
            if folder not in known:
                known.add(folder)
                yield _look(folder, roots)
        waiting = [os.fspath(root)]
        while waiting:
            path = waiting.pop()
            if path == skipped:
                continue
            seen = _look(path, roots)
            yield seen
            if isinstance(seen, Seen) and stat.S_ISDIR(seen.status.st_mode):
                try:
                    with os.scandir(path) as found:
                        names = sorted((each.name for each in found), reverse=True)
                except OSError as error:
                    yield LeftOut(path, reason(error))
                    continue
                waiting.extend(f"{path.rstrip('/')}/{name}" for name in names)


def _look(path: str, roots: Roots) -> Seen | LeftOut:
    try:
        return Seen(path, roots.below_base(path), os.lstat(path))
    except OSError as error:
        return LeftOut(path, reason(error))


def reason(error: OSError) -> str:
    """Why the system refused, without the path."""
    return os.strerror(error.errno) if error.errno else str(error)
