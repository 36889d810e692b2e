"""A folder of documents that belong together, as `mlx-probe docs init` makes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import yaml

from mlx_probe.core.errors import ConfigError
from mlx_probe.core.language import LANGUAGES

__all__ = ["KINDS", "MARKER", "VERSION", "Kind", "Project", "project_of", "read_project"]

# The file that makes a folder a project.
MARKER = ".mlx-probe-docs.yaml"
VERSION = "1"
_KEYS = ("version", "language", "title", "ignore", "exclude")


@dataclass(frozen=True)
class Kind:
    """A kind of document.

    Attributes:
        folder: The folder of a project that such documents are in.
        prefix: What their ids begin with.
        title: Title of the group in the index.
        about: What it is for, for the documentation.
    """

    folder: str
    prefix: str
    title: str
    about: str


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "experiment": Kind(
            "experiments", "exp", "Experiments", "a question, what was run, what came out"
        ),
        "model": Kind("models", "model", "Models", "what is known about a model"),
        "environment": Kind(
            "environments", "env", "Environments", "what is installed, and what works there"
        ),
        "problem": Kind(
            "problems", "prob", "Problems and solutions", "what went wrong, why, and what helped"
        ),
        "practice": Kind(
            "practices", "prac", "Best practices", "how something is done, when, and why"
        ),
        "lesson": Kind("lessons", "les", "Lessons", "what was expected, seen and learned"),
    }
)


@dataclass(frozen=True)
class Project:
    """A folder of documents.

    Attributes:
        folder: Where it is.
        language: Language of its templates and index, one of `LANGUAGES`.
        title: Its name.
        ignore: Rules that its documents need not follow.
        exclude: Globs of files, from the folder, that are not checked.
    """

    folder: Path
    language: str = LANGUAGES[0]
    title: str = ""
    ignore: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


def project_of(path: Path) -> Project | None:
    """The project that a folder is in; None if it is in none.

    Raises:
        ConfigError: The project's file makes no sense.
    """
    folder = path.absolute()
    for place in (folder, *folder.parents):
        if (place / MARKER).is_file():
            return read_project(place)
    return None


def read_project(folder: Path) -> Project:
    """A project from its file.

    Raises:
        ConfigError: There is none, or it makes no sense.
    """
    path = folder / MARKER
    remedy = f"Mend it, or remove it and run `mlx-probe docs init {folder}`"
    try:
        entries = yaml.load(path.read_text("utf-8"), yaml.BaseLoader) or {}
    except FileNotFoundError as error:
        raise ConfigError(
            f"{folder} is no project of documents: it has no {MARKER}",
            f"Make one with `mlx-probe docs init {folder}`",
        ) from error
    except (OSError, UnicodeError, RecursionError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot read {path}: {error}", remedy) from error
    if not isinstance(entries, dict):
        raise ConfigError(f"{path} is not a mapping", remedy)
    if unknown := [str(key) for key in entries if key not in _KEYS]:
        raise ConfigError(f"{path}: unknown key {unknown[0]!r}", f"Known keys: {', '.join(_KEYS)}")
    version = str(entries.get("version", VERSION))
    if version != VERSION:
        raise ConfigError(
            f"{path}: version {version!r} is not known, this mlx-probe knows version {VERSION}",
            "Update mlx-probe",
        )
    language = str(entries.get("language", LANGUAGES[0]))
    if language not in LANGUAGES:
        raise ConfigError(
            f"{path}: there is no language {language!r}", f"Choose from {', '.join(LANGUAGES)}"
        )
    return Project(
        folder,
        language,
        str(entries.get("title", "")),
        _texts(path, "ignore", entries),
        _texts(path, "exclude", entries),
    )


def _texts(path: Path, key: str, entries: Mapping[str, object]) -> tuple[str, ...]:
    value = entries.get(key) or []
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(item, str) for item in values):
        raise ConfigError(f"{path}: {key!r} cannot be {value!r}", "Give it a list of texts")
    return tuple(map(str, values))
