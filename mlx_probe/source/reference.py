"""What the parsers of model references share."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from mlx_probe.core.errors import ConfigError, SourceError

__all__ = ["agreed_revision", "exists", "unknown_reference"]


def exists(text: str) -> bool:
    """Whether a reference is a path on this disk."""
    try:
        # The empty path would be the current folder.
        return bool(text) and Path(text).expanduser().exists()
    except (OSError, ValueError, RuntimeError):
        # Too long for a path, a null byte, or no such user: not a path in any case.
        return False


def agreed_revision(text: str, written: str | None, given: str | None) -> str | None:
    """The revision that is wanted; None for the newest.

    Args:
        text: The reference, for the message.
        written: The revision inside it.
        given: The revision given apart from it.

    Raises:
        ConfigError: Two different ones.
    """
    if given and written and given != written:
        raise ConfigError(
            f"{text} asks for revision {written}, --revision for {given}", "Give only one"
        )
    return given or written


def unknown_reference(text: str, hints: Sequence[str]) -> SourceError:
    """The error about a text that is no reference and no path.

    Args:
        text: What the user gave.
        hints: The forms that there are.
    """
    forms = f"Give {', '.join(hints[:-1])}, or {hints[-1]}"
    path = Path(text)
    try:
        siblings = [entry.name for entry in path.expanduser().parent.iterdir()]
    except (OSError, ValueError, RuntimeError):
        siblings = []
    near = difflib.get_close_matches(path.name, siblings, n=1)
    remedy = f"Did you mean {path.parent / near[0]}? Otherwise: {forms}" if near else forms
    return SourceError(f"model {text!r} does not exist", remedy)
