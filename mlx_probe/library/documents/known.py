"""The projects of documents on this machine, so that a search finds them from anywhere."""

from __future__ import annotations

import json
from pathlib import Path

from mlx_probe.core.paths import keep_json
from mlx_probe.library.catalog.database import default_database

from .project import MARKER

__all__ = ["known_projects", "remember_project"]

_NAME = "documents.json"


def known_projects() -> list[Path]:
    """Folders of the projects that commands have used and that are still there."""
    return [Path(name) for name in _names() if (Path(name) / MARKER).is_file()]


def remember_project(folder: Path) -> None:
    """Keep a project for later searches; without a place to keep it nothing else is lost."""
    name = str(folder.absolute())
    names = _names()
    if name not in names and name.isprintable():
        keep_json(_file(), [*names, name])


def _file() -> Path:
    return default_database().with_name(_NAME)


def _names() -> list[str]:
    try:
        found = json.loads(_file().read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return []
    return [name for name in found if isinstance(name, str)] if isinstance(found, list) else []
