"""What commands print their results with."""

from __future__ import annotations

import os
import re
import sys
from typing import Any, TextIO, cast

from rich.console import Console
from rich.text import Text

from mlx_probe.core.messages import translated
from mlx_probe.report.terminal.plain import printable
from mlx_probe.report.terminal.wide_text import WideText

__all__ = ["alert_line", "close_output", "output"]

# Columns of a line that goes to a file or another program: names are neither cut nor wrapped.
_UNLIMITED = 1 << 16
_TAIL = re.compile(r" +(?=\n)")


class _Untailed:
    """A file for lines without the blanks that fill the last column of a table.

    Args:
        file: What they go to.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, text: str) -> int:
        self._file.write(_TAIL.sub("", text))
        return len(text)


class _Output(Console):
    def on_broken_pipe(self) -> None:
        """Go on without output: a reader such as `head` has seen enough, and nothing failed."""
        self.quiet = True
        close_output()

    def render_str(self, text: str, **settings: Any) -> Text:
        """Let text break between Chinese characters."""
        return WideText.of(super().render_str(text, **settings))


def output(quiet: bool = False) -> Console:
    """A console on standard output, as wide as the terminal; a pipe has no width.

    Args:
        quiet: Whether to print nothing.
    """
    console = _Output(highlight=False, quiet=quiet)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _UNLIMITED
    if not console.is_terminal:
        console.file = cast("TextIO", _Untailed(sys.stdout))
    return console


def close_output() -> None:
    """Let what is still to be printed go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def alert_line(text: str, is_warning: bool) -> str:
    """A message about a rule, as markup."""
    style = "bold yellow" if is_warning else "green"
    return f"[{style}]{printable(translated(text))}[/]"
