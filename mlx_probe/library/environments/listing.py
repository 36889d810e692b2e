"""`list`: every environment of a folder in a line."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mlx_probe.core.errors import ProbeError
from mlx_probe.library.environments.check import last_check
from mlx_probe.library.environments.folder import Place, State, places
from mlx_probe.library.environments.installed import installed_packages

__all__ = ["Listed", "folder_size", "list_environments"]


@dataclass(frozen=True)
class Listed:
    """An environment of the list.

    Attributes:
        name: Its name.
        folder: Where it is.
        state: What can be said without starting it.
        template: What it was made from; "" if it is not finished.
        maker: What made it; "" if it is not finished.
        python: Version of its Python; "" if it is not finished.
        made: When, ISO 8601; "" if it is not finished.
        packages: Number of installed packages.
        size: Bytes of its files on this disk.
        checked: When it was last checked, ISO 8601; "" if never.
        status: What that has shown: "ok", "warning" or "error"; "" if never.
    """

    name: str
    folder: str
    state: State
    template: str
    maker: str
    python: str
    made: str
    packages: int
    size: int
    checked: str
    status: str

    def describe(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return asdict(self)


def list_environments(folder: Path) -> list[Listed]:
    """Every environment of a folder, by name.

    Args:
        folder: The folder of environments.

    Raises:
        ResultError: The folder cannot be read.
    """
    return [_listed(place) for place in places(folder)]


def _listed(place: Place) -> Listed:
    try:
        record = place.record()
    except (FileNotFoundError, ProbeError):
        record = None
    checked = last_check(place) if record else None
    return Listed(
        name=place.name,
        folder=str(place.path),
        state=place.state(),
        template=record.template.name if record else "",
        maker=record.maker if record else "",
        python=record.python if record else "",
        made=record.made if record else "",
        packages=len(installed_packages(place.path)),
        size=folder_size(place.path),
        checked=checked.checked if checked else "",
        status=checked.status if checked else "",
    )


def folder_size(folder: Path) -> int:
    """Bytes of the files below a folder; links count as links, a file with two names once."""
    seen, total = set(), 0
    for path in folder.rglob("*"):
        try:
            facts = path.lstat()
        except OSError:
            continue  # removed meanwhile
        if facts.st_nlink > 1:
            if (facts.st_dev, facts.st_ino) in seen:
                continue
            seen.add((facts.st_dev, facts.st_ino))
        total += facts.st_size if not path.is_dir() or path.is_symlink() else 0
    return total
