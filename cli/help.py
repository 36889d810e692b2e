"""Help in the reader's language, in columns that hold with characters of two cells."""

from __future__ import annotations

import re
from collections.abc import Iterable

import click

from mlx_probe.core.language import LANGUAGES, language, tr
from mlx_probe.core.messages import translated
from mlx_probe.report.terminal.wrapping import cells, padded, wrapped

__all__ = ["Formatter", "paragraphs", "parts", "words"]

# Like ``  [default: 4; x>=1]`` at the end of an option's help.
_NOTES = re.compile(r"\A(?P<help>.*?)\s*\[(?P<notes>[^\[\]]*)\]\Z", re.DOTALL)
# Words of a placeholder: [OPTIONS], ROWSxCOLS; choices are in lower case, or values.
_WORD = re.compile(r"(?<![\w.-])[A-Z]{2,}(?![\w-])")
# How click ends the placeholder of a number with a range, which it says behind the help.
_RANGE = re.compile(r"(?<=[A-Z]) RANGE\b")
# A paragraph that click does not wrap begins with it.
_AS_IT_IS = "\b"


class Formatter(click.HelpFormatter):
    """click's formatter, which prints English as click does.

    Everything that a help says goes through these four methods, so that options, commands and
    pages of the documentation are written in English only.
    """

    @property
    def _is_english(self) -> bool:
        return language() == LANGUAGES[0]

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        """Write the usage line."""
        if self._is_english:
            super().write_usage(prog, args, prefix)
            return
        head = f"{prefix or tr('Usage: ')}{prog} "
        self._write_lines(placeholders(args), head, " " * cells(head))

    def write_heading(self, heading: str) -> None:
        """Write a heading."""
        colon = ":" if self._is_english else "："
        self.write(f"{'':{self.current_indent}}{translated(heading)}{colon}\n")

    def write_text(self, text: str) -> None:
        """Write paragraphs."""
        if self._is_english:
            super().write_text(text)
            return
        indent = " " * self.current_indent
        for number, paragraph in enumerate(paragraphs(text)):
            self.write("\n" if number else "")
            if paragraph.startswith(_AS_IT_IS):
                lines = paragraph.split("\n")[1:]
                self.write("".join(f"{indent}{line}\n" for line in lines))
            else:
                self._write_lines(translated(paragraph), indent, indent)

    def write_dl(
        self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2
    ) -> None:
        """Write terms beside their meanings."""
        if self._is_english:
            super().write_dl(list(rows), col_max, col_spacing)
            return
        shown = [(placeholders(term), meaning_of(text)) for term, text in rows]
        indent = " " * self.current_indent
        column = min(max(cells(term) for term, _ in shown), col_max) + col_spacing
        for term, meaning in shown:
            head = indent + padded(term, column)
            if meaning and cells(term) > column - col_spacing:
                self.write(f"{indent}{term}\n")
                head = indent + " " * column
            self._write_lines(meaning, head, indent + " " * column)

    def _write_lines(self, text: str, first: str, other: str) -> None:
        """Write wrapped lines behind ``first``, and from the second on behind ``other``."""
        lines = wrapped(text, max(self.width - cells(other), 10))
        heads = (first, *(other for _ in lines[1:]))
        for head, line in zip(heads, lines, strict=True):
            self.write(f"{head}{line}".rstrip() + "\n")


def paragraphs(text: str) -> list[str]:
    """A help text's paragraphs, each as one line: these are the keys of a catalog.

    Args:
        text: As in a docstring. A paragraph that begins with a backspace keeps its lines.
    """
    found = re.split(r"\n\s*\n", text.strip("\n "))
    return [part if part.startswith(_AS_IT_IS) else " ".join(part.split()) for part in found]


def parts(text: str) -> tuple[str, tuple[str, ...]]:
    """An option's help and the notes behind it, such as ``default: 4``: keys of a catalog.

    Args:
        text: As click writes it.
    """
    notes: tuple[str, ...] = ()
    # A help text may end with a note of its own, before click's.
    while found := _NOTES.fullmatch(text):
        text, notes = found["help"], (*found["notes"].split("; "), *notes)
    return " ".join(text.split()), notes


def words(text: str) -> list[str]:
    """The words of a placeholder that may be translated: FILE of FILE.md."""
    return _WORD.findall(text)


def placeholders(text: str) -> str:
    """A usage line or an option with the reader's words for FILE, NUMBER and so on."""
    return _WORD.sub(lambda found: translated(found[0]), _RANGE.sub("", text))


def meaning_of(text: str) -> str:
    """An option's help in the reader's language.

    Args:
        text: As click writes it.
    """
    plain, notes = parts(text)
    shown = translated(plain)
    noted = "；".join(map(translated, notes))
    return f"{shown} [{noted}]".lstrip() if notes else shown
