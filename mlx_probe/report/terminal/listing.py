"""A table of a line for each tensor: of 90,000, rich's own tables take half a minute."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment

from mlx_probe.report.terminal.wrapping import cells, padded, wrapped

__all__ = ["Heading", "Listing"]

# Between two columns, and before the first.
_GAP, _MARGIN = 3, 1
_NARROWEST = 4


@dataclass(frozen=True)
class Heading:
    """A column.

    Attributes:
        text: Its title.
        is_number: Whether its cells stand at the right.
        most: Cells of the terminal that it takes at most; longer texts are broken. 0: as needed.
    """

    text: str
    is_number: bool = False
    most: int = 0


@dataclass(frozen=True)
class Listing:
    """Headings and rows, drawn as rich draws a table of the style SIMPLE_HEAD.

    Attributes:
        headings: The columns.
        rows: A text for each column, of one line and harmless on a terminal; no markup.
    """

    headings: Sequence[Heading]
    rows: list[Sequence[str]] = field(default_factory=list)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        titles = [heading.text for heading in self.headings]
        widths = self._widths([titles, *self.rows], options.max_width)
        rule = sum(widths) + _GAP * (len(widths) - 1)
        yield Segment("\n")
        style = console.get_style("table.header")
        for line in self._lines(titles, widths):
            yield Segment(line, style)
            yield Segment("\n")
        yield Segment(" " * _MARGIN + "─" * rule + "\n")
        for row in self.rows:
            yield Segment("".join(f"{line}\n" for line in self._lines(row, widths)))
        yield Segment("\n")

    def _widths(self, rows: Sequence[Sequence[str]], most: int) -> list[int]:
        """Cells of each column: as many as its longest text has, less where lines were too long."""
        widths = [max(map(cells, column)) for column in zip(*rows, strict=True)]
        widths = [
            min(width, heading.most or width)
            for width, heading in zip(widths, self.headings, strict=True)
        ]
        room = most - 2 * _MARGIN - _GAP * (len(widths) - 1)
        while (excess := sum(widths) - room) > 0 and max(widths) > _NARROWEST:
            # The widest give way first, down to the next one.
            widest = max(widths)
            next_one = max((width for width in widths if width < widest), default=0)
            equal = widths.count(widest)
            less = max(min(widest - max(next_one, _NARROWEST), -(-excess // equal)), 1)
            widths = [width - less if width == widest else width for width in widths]
        return widths

    def _lines(self, row: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
        """The lines of a row; more than one where a text is longer than its column is wide."""
        if all(cells(text) <= width for text, width in zip(row, widths, strict=True)):
            columns = [[text] for text in row]
        else:
            columns = [wrapped(text, width) for text, width in zip(row, widths, strict=True)]
        for number in range(max(map(len, columns))):
            parts = []
            for heading, column, width in zip(self.headings, columns, widths, strict=True):
                text = column[number] if number < len(column) else ""
                filled = padded(text, width)
                parts.append(filled[len(text) :] + text if heading.is_number else filled)
            yield " " * _MARGIN + (" " * _GAP).join(parts)
