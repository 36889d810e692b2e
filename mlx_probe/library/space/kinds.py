"""The kinds of what takes space, and how each is found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from mlx_probe.library.space.caches import find_caches
from mlx_probe.library.space.hub import find_old_revisions
from mlx_probe.library.space.needs import Needs
from mlx_probe.library.space.partial import find_partial
from mlx_probe.library.space.records import Item, Survey
from mlx_probe.library.space.training import find_snapshots

__all__ = ["REMOVABLE", "SPACE_KINDS", "SpaceKind"]


@dataclass(frozen=True)
class SpaceKind:
    """A kind of what may go.

    Attributes:
        description: What it is.
        safe: Why it may go.
        find: Yields the items, and notes what stays; None where another command does it.
        command: The command that frees it; "" for `catalog space --remove`.
    """

    description: str
    safe: str
    find: Callable[[Needs, Survey], Iterator[Item]] | None = None
    command: str = ""


SPACE_KINDS: Mapping[str, SpaceKind] = {
    "old-revisions": SpaceKind(
        "revisions in the Hub's cache",
        "no reference, run, model, link or program needs them",
        find_old_revisions,
    ),
    "partial": SpaceKind("partial downloads", "no program writes them", find_partial),
    "snapshots": SpaceKind(
        "steps of finished trainings",
        "the run has its model, and measurements stay",
        find_snapshots,
    ),
    "caches": SpaceKind("caches of mlx-probe", "they are made again when needed", find_caches),
    "duplicates": SpaceKind(
        "copies of weight files",
        "links take their place",
        command="mlx-probe catalog dedupe",
    ),
    "bin": SpaceKind(
        "what was removed", "you removed it", command="mlx-probe catalog space --empty-bin"
    ),
    "run-bin": SpaceKind(
        "runs that were removed", "you removed them", command="mlx-probe runs bin --empty"
    ),
}
REMOVABLE = tuple(name for name, kind in SPACE_KINDS.items() if kind.find is not None)
