"""Text for rich that breaks between Chinese characters too, and in long names behind a dot."""

from __future__ import annotations

from rich.console import Console, ConsoleOptions, JustifyMethod, OverflowMethod
from rich.containers import Lines
from rich.measure import Measurement
from rich.text import Text

from mlx_probe.report.terminal.wrapping import break_offsets, cells

__all__ = ["WideText"]

# Letters of a word that a column may be too narrow for.
_LONG = 12


class WideText(Text):
    """Rich's text with lines that break where a Chinese reader expects it."""

    @classmethod
    def of(cls, text: Text) -> Text:
        """The text, able to break elsewhere than at spaces if it has where."""
        is_long = any(len(word) > _LONG for word in text.plain.split())
        if not is_long and cells(text.plain) == len(text.plain):
            return text
        wide = cls(
            text.plain,
            text.style,
            justify=text.justify,
            overflow=text.overflow,
            no_wrap=text.no_wrap,
            end=text.end,
            tab_size=text.tab_size,
        )
        wide.spans.extend(text.spans)
        return wide

    def wrap(
        self,
        console: Console,
        width: int,
        *,
        justify: JustifyMethod | None = None,
        overflow: OverflowMethod | None = None,
        tab_size: int = 8,
        no_wrap: bool | None = None,
    ) -> Lines:
        """Lines of at most so many cells; see `Text.wrap`."""
        whole = no_wrap or self.no_wrap or (overflow or self.overflow or "fold") != "fold"
        if whole or justify == "full":
            return super().wrap(
                console,
                width,
                justify=justify,
                overflow=overflow,
                tab_size=tab_size,
                no_wrap=no_wrap,
            )
        lines = Lines()
        for line in self.split(allow_blank=True):
            line.expand_tabs(tab_size)
            pieces = line.divide(break_offsets(line.plain, width))
            for piece in pieces:
                piece.rstrip()
            pieces.justify(console, width, justify=justify or self.justify or "default")
            lines.extend(pieces)
        return lines

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """No word is too long to break."""
        least, most = super().__rich_measure__(console, options)
        return Measurement(min(least, 8), most)
