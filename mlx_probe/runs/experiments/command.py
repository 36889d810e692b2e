"""The command that made a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from mlx_probe.core.invocation import PROGRAM

__all__ = ["command_of"]

# More arguments than a shell takes are none that somebody typed.
_MOST, _LONGEST = 10_000, 200_000


def command_of(meta: Mapping[str, Any], words: Sequence[str]) -> tuple[str, ...]:
    """The command as it was typed, "mlx-probe" first; () where another one made the run.

    Runs from Python name the script, and a snapshot's measurement the command that trains: neither
    would make this run again.

    Args:
        meta: Metadata or plan of the run.
        words: Words of the command that makes such runs.
    """
    listed = meta.get("command")
    if not isinstance(listed, list) or not 1 <= len(listed) <= _MOST:
        return ()
    if not all(isinstance(each, str) and _can_be_typed(each) for each in listed):
        return ()
    program, *arguments = listed
    path = PurePath(program)
    is_ours = path.stem == PROGRAM or path.parts[-3:] == ("mlx_probe", "cli", "__main__.py")
    # Options of the program itself may come before the command's words.
    return (PROGRAM, *arguments) if is_ours and _has(arguments, words) else ()


def _can_be_typed(word: str) -> bool:
    """Whether a program takes it: JSON may hold zeros, and halves of characters."""
    try:
        return len(word) <= _LONGEST and "\0" not in word and word.encode() is not None
    except UnicodeEncodeError:
        return False


def _has(arguments: Sequence[str], words: Sequence[str]) -> bool:
    """Whether the words are there in this order, before the first that is no option."""
    typed = [each for each in arguments if not each.startswith("-")]
    return typed[: len(words)] == list(words)
