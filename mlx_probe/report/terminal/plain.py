"""Text for a terminal, without rich, which takes longer to import than short commands to run."""

from __future__ import annotations

import os
import sys

__all__ = ["may_draw", "one_line", "plain", "printable"]

# By these rich takes what is no terminal for one.
_FORCING = ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE")


def plain(text: str) -> str:
    """Text from a file, harmless on a terminal: without control characters but line ends."""
    # Nearly all texts are: of ten thousand lines this takes a hundredth of the time.
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text
    )


def one_line(text: str) -> str:
    """`plain` text of one line."""
    return plain(text).replace("\n", "\\n")


def printable(text: str) -> str:
    """Text of one line, harmless on a terminal, that rich takes for no markup."""
    from rich.markup import escape

    return escape(one_line(text))


def may_draw() -> bool:
    """Whether standard error may be a terminal for rich, which decides; False if it is none."""
    return sys.stderr.isatty() or any(os.environ.get(name) for name in _FORCING)
