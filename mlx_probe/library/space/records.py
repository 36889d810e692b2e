"""What takes space, what of it may go, and why the rest stays."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Item", "Kept", "Moved", "Occupied", "Survey"]


@dataclass(frozen=True)
class Item:
    """Files that nothing needs, which go together.

    Attributes:
        kind: Key of `SPACE_KINDS`.
        name: For people: a repository, a run, a folder.
        paths: Files, links and folders to move, in this order; those that others lead to are last.
        home: A folder on their disk for their bin.
        size: Bytes of the files in them.
        frees: Bytes of the disk that are free again when they are deleted.
        why: Why it is safe.
    """

    kind: str
    name: str
    paths: tuple[Path, ...]
    home: Path
    size: int
    frees: int
    why: str


@dataclass(frozen=True)
class Kept:
    """Something of a kind that stays.

    Attributes:
        kind: Key of `SPACE_KINDS`.
        path: What.
        why: What needs it, or what is not understood.
    """

    kind: str
    path: Path
    why: str


@dataclass(frozen=True)
class Occupied:
    """A folder, and what it takes.

    Attributes:
        title: Whose it is.
        folder: Where.
        files: Number of files; several names of one file count once.
        size: Bytes of the disk.
        free: Bytes that are free on its disk.
    """

    title: str
    folder: Path
    files: int
    size: int
    free: int


@dataclass
class Survey:
    """The state of this machine.

    Attributes:
        places: What takes how much.
        items: What may go, the largest first.
        kept: What stays although it is of a kind that may go.
        troubles: What could not be read; nothing in it is among the items.
        saves: Bytes that links instead of copies would free, as far as hashes are known.
        copies: Number of these copies.
        binned: Bytes in the bins, by batch; "" for the bin of runs.
        runs: Number of runs whose inputs are known.
    """

    places: list[Occupied] = field(default_factory=list)
    items: list[Item] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
    troubles: list[tuple[Path, str]] = field(default_factory=list)
    saves: int = 0
    copies: int = 0
    binned: dict[str, int] = field(default_factory=dict)
    runs: int = 0

    def of(self, kind: str) -> list[Item]:
        """The items of a kind."""
        return [item for item in self.items if item.kind == kind]

    def keep(self, kind: str, path: Path, why: str) -> None:
        """Note that something of a kind stays."""
        self.kept.append(Kept(kind, path, why))


@dataclass
class Moved:
    """The result of removing, restoring or emptying.

    Attributes:
        batch: Its id; "" if nothing was moved.
        paths: What was moved, by where it belongs.
        size: Bytes that are freed, or will be when the bin is emptied.
        skipped: What stays, and why.
    """

    batch: str = ""
    paths: list[Path] = field(default_factory=list)
    size: int = 0
    skipped: list[tuple[Path, str]] = field(default_factory=list)
