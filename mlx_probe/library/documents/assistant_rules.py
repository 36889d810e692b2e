"""Rules for coding assistants: one source, `rules.md`, written to where each assistant looks."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from mlx_probe.core.errors import ConfigError, ResultError
from mlx_probe.core.files import write_text

from .naming import words_of
from .page import Page
from .reading import read_page
from .templates import yaml_lines

__all__ = [
    "ASSISTANTS",
    "SOURCE",
    "Assistant",
    "RulesFile",
    "planned_files",
    "states",
    "write_rules",
]

SOURCE = "rules.md"
_HEADER = re.compile(
    r"<!-- mlx-probe docs rules: written from (?P<source>\S+) sha256:(?P<of>[0-9a-f]{64}), "
    r"text sha256:(?P<own>[0-9a-f]{64}) -->\n"
)
_GLOBS = re.compile(r"^<!-- globs: *(.*?) *-->\n?", re.MULTILINE)


@dataclass(frozen=True)
class Assistant:
    """A program that reads rules.

    Attributes:
        files: Gives texts by path, from the page of rules.
        leftovers: Glob of files that an older page may have left.
    """

    files: Callable[[Page], Mapping[str, str]]
    leftovers: str


@dataclass(frozen=True)
class RulesFile:
    """A file for an assistant.

    Attributes:
        path: Where.
        state: "current", "missing", "older" than the source, "edited" by hand, "left over" from a
            section that is gone, or "another's": it was not written from the source.
    """

    path: Path
    state: str


def _whole(name: str) -> Callable[[Page], Mapping[str, str]]:
    def files(page: Page) -> Mapping[str, str]:
        # Where only some files are meant, prose says so.
        text = _GLOBS.sub(lambda found: f"\nFor files that match `{found[1]}`:\n", page.text)
        return {name: text}

    return files


def _by_section(page: Page) -> Mapping[str, str]:
    """A file for each section, each with the files that it is for."""
    lines = page.text.split("\n")
    heads = [each for each in page.headings if each.level == 2 and not each.is_quoted]
    ends = [each.line - 1 for each in heads[1:]] + [len(lines)]
    first = heads[0].line - 1 if heads else len(lines)
    top = [line for line in lines[page.front.lines : first] if not line.startswith("# ")]
    parts = [("general", page.title, "\n".join(top))] if "".join(top).strip() else []
    for head, end in zip(heads, ends, strict=True):
        body = "\n".join(lines[head.line - 1 : end])
        parts.append((words_of(head.text) if head.text else "rules", head.text, body))
    files: dict[str, str] = {}
    for stem, title, body in parts:
        found = _GLOBS.search(body)
        entries = {"description": title or stem, "alwaysApply": "false" if found else "true"}
        front = yaml_lines(entries)
        if found:
            # Cursor's own form: a list with commas and without quotation marks.
            front += "globs: " + found[1] + "\n"
        name, number = f".cursor/rules/{stem}.mdc", 2
        while name in files:
            name, number = f".cursor/rules/{stem}_{number}.mdc", number + 1
        files[name] = f"---\n{front}---\n\n{_GLOBS.sub('', body).strip()}\n"
    return files


ASSISTANTS: Mapping[str, Assistant] = MappingProxyType(
    {
        "agents": Assistant(_whole("AGENTS.md"), "AGENTS.md"),
        "claude": Assistant(_whole("CLAUDE.md"), "CLAUDE.md"),
        "cursor": Assistant(_by_section, ".cursor/rules/*.mdc"),
    }
)


def planned_files(source: Path, name: str, out: Path) -> dict[Path, str]:
    """What an assistant's files should be.

    Args:
        source: The page of rules.
        name: Key of `ASSISTANTS`.
        out: The folder that they are written into.

    Raises:
        ConfigError: There is no source.
        ResultError: It cannot be read.
    """
    text = _read_source(source)
    files = ASSISTANTS[name].files(read_page(text))
    return {
        out / path: _with_header(content, source, out / path, text)
        for path, content in files.items()
    }


def _read_source(source: Path) -> str:
    try:
        return source.read_text("utf-8")
    except FileNotFoundError as error:
        raise ConfigError(
            f"there are no rules: {source} is missing",
            f"`mlx-probe docs init {source.parent}` makes one",
        ) from error
    except (OSError, UnicodeError) as error:
        raise ResultError(f"cannot read {source}: {error}", "Mend it") from error


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _with_header(content: str, source: Path, path: Path, text: str) -> str:
    relative = os.path.relpath(source, path.parent).replace(os.sep, "/").replace(" ", "%20")
    header = (
        f"<!-- mlx-probe docs rules: written from {relative} sha256:{_sha256(text)}, "
        f"text sha256:{_sha256(content)} -->\n"
    )
    if content.startswith("---\n"):
        # Behind the front matter, which has to be first.
        end = content.index("\n---\n") + len("\n---\n")
        return content[:end] + header + content[end:]
    return header + content


def states(source: Path, name: str, out: Path) -> list[RulesFile]:
    """How an assistant's files stand to their source.

    Raises:
        ConfigError: There is no source.
        ResultError: It cannot be read.
    """
    planned = planned_files(source, name, out)
    found = [RulesFile(path, _state(path, content)) for path, content in planned.items()]
    for path in sorted(out.glob(ASSISTANTS[name].leftovers)):
        if path not in planned and _is_from(path, source):
            found.append(RulesFile(path, "left over"))
    return found


def _state(path: Path, planned: str) -> str:
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return "missing"
    except (OSError, UnicodeError):
        return "another's"
    if text == planned:
        return "current"
    return written_state(text) or "older"


def written_state(text: str) -> str:
    """Whether a file is "another's", "edited", or "" for as it was written."""
    found = _HEADER.search(text)
    if found is None:
        return "another's"
    return "" if _sha256(text.replace(found[0], "", 1)) == found["own"] else "edited"


def written_from(text: str) -> tuple[str, str] | None:
    """The source that a file was written from, from its folder, and the hash that it had then."""
    found = _HEADER.search(text)
    return (found["source"].replace("%20", " "), found["of"]) if found else None


def _is_from(path: Path, source: Path) -> bool:
    try:
        found = written_from(path.read_text("utf-8"))
    except (OSError, UnicodeError):
        return False
    return found is not None and (path.parent / found[0]).resolve() == source.resolve()


def stale_copies(source: Path) -> Iterator[tuple[Path, str]]:
    """Files beside a page of rules that are not as it is now, with their states.

    Files that were never written are not wanted.
    """
    for name, assistant in ASSISTANTS.items():
        if any(_is_from(path, source) for path in source.parent.glob(assistant.leftovers)):
            for each in states(source, name, source.parent):
                if each.state != "current":
                    yield each.path, each.state


def write_rules(source: Path, name: str, out: Path, overwrite: bool = False) -> list[Path]:
    """Write an assistant's files.

    Args:
        source: The page of rules.
        name: Key of `ASSISTANTS`.
        out: The folder that they are written into.
        overwrite: Whether files that were edited by hand, or that are another's, are replaced.

    Returns:
        What was written or removed.

    Raises:
        ConfigError: There is no source.
        ResultError: It cannot be read, a file is somebody's own work, or the disk refused.
    """
    planned = planned_files(source, name, out)
    found = states(source, name, out)
    for each in found:
        if each.state in ("edited", "another's") and not overwrite:
            raise ResultError(
                f"{each.path} was edited by hand"
                if each.state == "edited"
                else f"{each.path} was not written from rules",
                f"Take over into {source} what is worth keeping, then add --overwrite",
            )
    changed = []
    for each in found:
        if each.state == "current":
            continue
        if each.state == "left over":
            if written_state(each.path.read_text("utf-8")) == "" or overwrite:
                each.path.unlink()
                changed.append(each.path)
            continue
        write_text(each.path, planned[each.path])
        changed.append(each.path)
    return changed
