"""`mlx-probe docs check`: read all documents below a folder and apply the rules."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path

from mlx_probe.core.errors import ConfigError

from .findings import DocumentFinding
from .page import Page
from .reading import read_page
from .rules import DIRECTIVE, RULES, UNREADABLE
from .surroundings import Document, Surroundings

__all__ = ["check_documents", "find_documents"]

SUFFIXES = (".md", ".markdown")
# Folders of other people's documents.
_SKIPPED = ("node_modules", "__pycache__", "site-packages")
_ENVIRONMENT = "pyvenv.cfg"
_DIRECTIVE = re.compile(r"\s*docs-check:\s*(?P<verb>[\w-]+)\s*(?P<rules>.*?)\s*", re.DOTALL)
_VERBS = ("ignore", "ignore-file")
_EVERY = "all"
_FORM = "a comment to docs-check says `docs-check: ignore RULE` or `docs-check: ignore-file RULE`"


def check_documents(
    paths: Sequence[Path], only: Sequence[str] = (), ignore: Sequence[str] = ()
) -> list[DocumentFinding]:
    """Check documents.

    Args:
        paths: Folders, searched with all folders in them, or documents.
        only: Keys of `RULES`; none means all of them.
        ignore: Keys of `RULES` that are left out.

    Returns:
        What is wrong, by file and line.

    Raises:
        ConfigError: A path is not there, or a rule is unknown.
    """
    for name in (*only, *ignore):
        if name not in RULES:
            near = difflib.get_close_matches(name, RULES, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"Choose from {', '.join(RULES)}"
            raise ConfigError(f"there is no rule {name!r}", hint)
    wanted = [name for name in RULES if name not in ignore and (not only or name in only)]
    found: set[DocumentFinding] = set()
    for path in paths:
        if not path.exists():
            raise ConfigError(
                f"no file or folder is called {path}", "Name a folder or a Markdown file"
            )
        surroundings = Surroundings(path if path.is_dir() else path.parent)
        for file in find_documents(path, surroundings):
            found.update(_check(file, surroundings, wanted, only))
    return sorted(found)


def find_documents(path: Path, surroundings: Surroundings | None = None) -> Iterator[Path]:
    """The documents below a folder, in order; a file is its own only one.

    Hidden folders, environments and installed packages are left out, and links to folders are
    not followed; so is what a project's file excludes.
    """
    if not path.is_dir():
        yield path
        return
    around = surroundings or Surroundings(path)
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".")
            and name not in _SKIPPED
            and not Path(folder, name, _ENVIRONMENT).exists()
        )
        for name in sorted(names):
            file = Path(folder, name)
            if name.lower().endswith(SUFFIXES) and not _is_excluded(file, around):
                yield file


def _is_excluded(file: Path, surroundings: Surroundings) -> bool:
    project = surroundings.project(file.absolute().parent)
    if project is None or not project.exclude:
        return False
    relative = file.absolute().relative_to(project.folder).as_posix()
    return any(fnmatch(relative, pattern) for pattern in project.exclude)


def _check(
    path: Path, surroundings: Surroundings, wanted: Sequence[str], only: Sequence[str]
) -> Iterator[DocumentFinding]:
    try:
        page = read_page(path.read_text("utf-8"))
    except (OSError, UnicodeError) as error:
        if UNREADABLE in wanted:
            reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
            yield DocumentFinding(path, 1, UNREADABLE, f"cannot be read: {reason}")
        return
    project = surroundings.project(path.absolute().parent)
    document = Document(path, page, project)
    silenced, wrong = _directives(page)
    if DIRECTIVE in wanted:
        for line, message in wrong:
            yield DocumentFinding(path, line, DIRECTIVE, message)
    # A document that says what kind it is follows the rules of a project without one, too.
    in_project = project is not None or bool(page.front.text("kind"))
    for name in wanted:
        rule = RULES[name]
        # A rule that is asked for by name holds everywhere.
        if name not in only and (
            (rule.applies == "project" and not in_project)
            or (project is not None and name in project.ignore)
        ):
            continue
        for line, message in rule.find(document, surroundings):
            silent = any(
                first <= line <= last and name_or_all in (name, _EVERY)
                for name_or_all, first, last in silenced
            )
            if not silent:
                yield DocumentFinding(path, line, name, message)


def _directives(page: Page) -> tuple[list[tuple[str, int, int]], list[tuple[int, str]]]:
    """What comments say to this check.

    Returns:
        Rule, first and last line of what is silenced, and line and message of what is wrong.
    """
    silenced: list[tuple[str, int, int]] = []
    wrong: list[tuple[int, str]] = []
    last = page.text.count("\n") + 1
    for comment in page.comments:
        found = _DIRECTIVE.fullmatch(comment.text)
        if found is None:
            if re.match(r"\s*docs-check\b", comment.text):
                wrong.append((comment.line, _FORM))
            continue
        names = re.split(r"[\s,]+", found["rules"]) if found["rules"] else []
        if found["verb"] not in _VERBS or not names:
            wrong.append((comment.line, _FORM))
            continue
        for name in names:
            if name not in RULES and name != _EVERY:
                near = difflib.get_close_matches(name, RULES, n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                fact = f"no rule is called {name}"
                wrong.append((comment.line, fact + hint))
            elif found["verb"] == "ignore":
                silenced.append((name, comment.line, comment.end))
            else:
                silenced.append((name, 1, last))
    return silenced, wrong
