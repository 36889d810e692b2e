"""What a store is: a folder that a program keeps models in, and the models found there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mlx_probe.core.records import ModelFiles

__all__ = ["OnProblem", "Store", "StoredModel"]

# Called with a path that cannot be read, and why; the search goes on.
OnProblem = Callable[[Path, str], None]


@dataclass(frozen=True)
class StoredModel:
    """A model on this disk, before any header is read.

    Attributes:
        store: Key in `STORES`.
        location: Path that names it on this disk: its first weight file, or a store's manifest.
        files: The files to open it by; without weights if nothing says which they are.
        others: Further weight files of the same folder (other formats of the same model).
        readme: Its model card, if there is one.
        url: Where it comes from; "" if the store does not say.
        licence: Its licence; "" if the store does not say.
        hashes: Weight file to the SHA-256 that its name, or our manifest, gives.
        certain: Whether it is a model even if it cannot be read.
        problem: Why it cannot be opened; "" if nothing is known against it.
    """

    store: str
    location: Path
    files: ModelFiles
    others: tuple[Path, ...] = ()
    readme: Path | None = None
    url: str = ""
    licence: str = ""
    hashes: Mapping[Path, str] = field(default_factory=dict)
    certain: bool = True
    problem: str = ""

    @property
    def weights(self) -> tuple[Path, ...]:
        """All its weight files."""
        return (*self.files.weights, *self.others)


@dataclass(frozen=True)
class Store:
    """A kind of folder that models are kept in.

    Attributes:
        title: Name for people.
        folders: Its folders on this machine, the usual one first; they need not exist.
        find: Yields the models in one such folder.
        kept_whole: Whether its files are named by their content and never written in place, and
            whether the program deletes what its links point to: such files may share bytes with
            others by hard links, and must not become symbolic links.
    """

    title: str
    folders: Callable[[], Sequence[Path]]
    find: Callable[[Path, OnProblem], Iterator[StoredModel]]
    kept_whole: bool = False
