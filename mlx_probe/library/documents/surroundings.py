"""What a check sees beside a document: other pages, files by their exact names, the project."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from mlx_probe.core.errors import ProbeError
from mlx_probe.core.files import sha256_file
from mlx_probe.library.catalog.database import default_database, open_database
from mlx_probe.library.catalog.hashing import FileIdentity, identify, known_hashes

from .front_matter import read_front_matter
from .page import Page
from .project import Project, project_of
from .reading import read_page

__all__ = ["Document", "Surroundings"]

# Bytes: front matter is shorter.
_FRONT = 1 << 14
# Beside these lies a whole project: a path that begins with / begins there.
_ROOTS = (".git", ".hg", "pyproject.toml", "package.json")


@dataclass(frozen=True)
class Document:
    """A document that is checked.

    Attributes:
        path: Its file.
        page: What it says.
        project: The project of documents that it belongs to; None for other documents.
    """

    path: Path
    page: Page
    project: Project | None = None


@dataclass
class Surroundings:
    """What documents refer to. What was read once is kept as long as this lives.

    Attributes:
        root: The folder that is checked.
    """

    root: Path
    _pages: dict[Path, Page | None] = field(default_factory=dict)
    _names: dict[Path, frozenset[str]] = field(default_factory=dict)
    _projects: dict[Path, Project | None] = field(default_factory=dict)
    _hashes: dict[Path, str] = field(default_factory=dict)
    _dated: dict[Path, dict[str, bool]] = field(default_factory=dict)
    _known: dict[FileIdentity, str] | None = None

    def page(self, path: Path) -> Page | None:
        """A document; None for one that cannot be read as text."""
        if path not in self._pages:
            try:
                self._pages[path] = read_page(path.read_text("utf-8"))
            except (OSError, UnicodeError):
                self._pages[path] = None
        return self._pages[path]

    def project(self, folder: Path) -> Project | None:
        """The project that a folder belongs to."""
        if folder not in self._projects:
            self._projects[folder] = project_of(folder)
        return self._projects[folder]

    def sha256(self, path: Path) -> str:
        """The hash of a file of a model; that which the catalog has is taken while it is valid.

        Raises:
            OSError: It cannot be read.
        """
        if path not in self._hashes:
            if self._known is None:
                self._known = _hashes_of_catalog()
            known = self._known.get(identify(path.stat()))
            # Many documents may describe one model.
            self._hashes[path] = known or sha256_file(path)
        return self._hashes[path]

    def dated(self, folder: Path) -> dict[str, bool]:
        """Whether each Markdown file of a folder has a date in its front matter."""
        if folder not in self._dated:
            self._dated[folder] = {
                name: _has_date(folder / name)
                for name in self.names(folder)
                if name.lower().endswith(".md")
            }
        return self._dated[folder]

    def names(self, folder: Path) -> frozenset[str]:
        """Names in a folder; none of one that cannot be read."""
        if folder not in self._names:
            try:
                self._names[folder] = frozenset(path.name for path in folder.iterdir())
            except (OSError, ValueError):
                self._names[folder] = frozenset()
        return self._names[folder]

    def target(self, document: Path, link: str) -> Path:
        """The path that a link on a page leads to, there or not.

        Args:
            document: The page.
            link: Path of the link, without anchor and query.
        """
        plain = unquote(link)
        if plain.startswith("/"):
            return Path(os.path.normpath(f"{self._top(document)}{os.sep}{plain.lstrip('/')}"))
        return Path(os.path.normpath(document.parent.absolute() / plain))

    def exists(self, path: Path) -> bool:
        """Whether a path is there, with exactly these letters: not all disks tell a from A."""
        if path == path.parent:
            return True
        names = self.names(path.parent)
        # A folder that may not be listed may still have it.
        is_listed = path.name in names or not names
        # Links in the folder may lead nowhere.
        return is_listed and _is_there(path)

    def _top(self, document: Path) -> Path:
        for folder in document.absolute().parents:
            if any(name in self.names(folder) for name in _ROOTS):
                return folder
        return self.root.absolute()


def _has_date(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            text = file.read(_FRONT).decode("utf-8", "replace")
    except OSError:
        return False
    return "date" in read_front_matter(text.replace("\r\n", "\n")).keys


def _hashes_of_catalog() -> dict[FileIdentity, str]:
    """What the catalog knows; nothing where there is none, or none that can be read."""
    path = default_database()
    if not _is_there(path):
        return {}
    try:
        with open_database(path, read_only=True) as database:
            return known_hashes(database)
    except ProbeError:
        return {}


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that is too long, or with a NUL in it
        return False
