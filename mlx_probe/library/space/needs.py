"""What runs, links, models, jobs and open files need: where it lies, and by which name."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlx_probe.library.experiments.records import StoredRun

__all__ = ["Needs", "chain", "repository_of"]

_REPOSITORY = re.compile(r"(?:hf:)?(?P<id>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^:\s]+))?(?::.*)?")
# Links that lead to links.
_LONGEST = 40


@dataclass
class Needs:
    """What has to stay, and for whom. Filled by `gather_needs`.

    Attributes:
        commits: Of the Hub.
        repositories: Of the Hub, in lower case: every revision of them.
        named: The same, but only as their references say.
        packages: "name" or "name/version" of unpacked packages.
        texts: Whose inputs are only known as text; what is spelled in it stays.
        unknown: What cannot be read at all, and may need anything.
        troubles: Folders that could not be searched for links.
        partial: Unfinished downloads that were seen in the same folders.
        runs: All runs of the catalog.
    """

    commits: dict[str, str] = field(default_factory=dict)
    repositories: dict[str, str] = field(default_factory=dict)
    named: dict[str, str] = field(default_factory=dict)
    packages: dict[str, str] = field(default_factory=dict)
    texts: list[tuple[str, str]] = field(default_factory=list)
    unknown: list[tuple[Path, str]] = field(default_factory=list)
    troubles: list[tuple[Path, str]] = field(default_factory=list)
    partial: set[Path] = field(default_factory=set)
    runs: Sequence[StoredRun] = ()
    _whole: dict[str, str] = field(default_factory=dict, repr=False)
    _within: dict[str, str] = field(default_factory=dict, repr=False)

    def add_whole(self, path: str | Path, who: str) -> None:
        """Everything below a path has to stay, and whatever the path lies in."""
        for each in chain(path):
            self._whole.setdefault(each, who)
            self.add_point(each, who)

    def add_point(self, path: str | Path, who: str) -> None:
        """A path has to stay where it is, and so has whatever it lies in."""
        current = str(path)
        while current not in self._within:
            self._within[current] = who
            current = os.path.dirname(current)  # noqa: PTH120  for many paths

    def reason(self, path: Path) -> str:
        """Who needs a path; "" if nobody does.

        Args:
            path: A real path, but for its last part.
        """
        if who := self._within.get(str(path)):
            return who
        for each in (path, *path.parents):
            if who := self._whole.get(str(each)):
                return who
        return self.spelled(str(path))

    def spelled(self, name: str) -> str:
        """Who has a path or a name in a text that is not understood."""
        return next((who for who, text in self.texts if name in text), "")

    def obstacle(self) -> str:
        """Why nothing that a run may need can go; "" if nothing is against it."""
        if not self.unknown:
            return ""
        path, why = self.unknown[0]
        return f"what {path} needs is not known: {why}"


def chain(path: str | Path) -> Iterable[str]:
    """A path, and what it leads to link by link; of each the folder is real."""
    seen: list[str] = []
    current = str(path)
    while len(seen) < _LONGEST:
        folder, name = os.path.split(current)
        current = os.path.join(os.path.realpath(folder), name)  # noqa: PTH118
        seen.append(current)
        try:
            current = os.path.join(os.path.dirname(current), os.readlink(current))  # noqa
        except OSError:
            break
        current = os.path.normpath(current)
    return seen


def repository_of(name: str) -> tuple[str, str] | None:
    """Id of a repository in lower case and its revision, or ""; None for another name."""
    found = _REPOSITORY.fullmatch(name)
    return (found["id"].lower(), found["revision"] or "") if found else None
