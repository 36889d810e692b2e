"""Tokens to text as they come: whole characters only, and an end at a stop text."""

from __future__ import annotations

from collections.abc import Callable, Sequence

__all__ = ["TextStream"]

# Tokens before the first new one that are decoded with it, because a decoder drops the space in
# front of the first word; and how many there may be before the window is shortened.
BEFORE, WINDOW = 4, 64

# A character of UTF-8 has at most 4 bytes: what is still broken after as many tokens stays so.
LONGEST = 4

_BROKEN = "\ufffd"


class TextStream:
    """Decodes tokens one by one.

    The pieces together are the text that follows the prompt; a piece never ends inside a
    character or inside what may become a stop text.

    Args:
        decode: Text of tokens.
        prompt: The tokens before.
        stop: Texts that end the stream.

    Attributes:
        text: All text so far.
        stopped: Whether a stop text has come.
    """

    def __init__(
        self,
        decode: Callable[[Sequence[int]], str],
        prompt: Sequence[int] = (),
        stop: Sequence[str] = (),
    ) -> None:
        self.text = ""
        self.stopped = False
        self._decode = decode
        self._stop = tuple(stop)
        # Tokens from a little before the first one whose text is not out yet.
        self._window = list(prompt)
        self._shorten()
        self._out = len(self._window)
        self._held = ""

    def add(self, token: int) -> str:
        """The text that a token completes, often none.

        Args:
            token: The next token.
        """
        self._window.append(token)
        return self._release(self._fresh(last=False), last=False)

    def finish(self) -> str:
        """The rest of the text, after the last token."""
        return self._release(self._fresh(last=True), last=True)

    def _fresh(self, last: bool) -> str:
        """The text of the tokens that are not out, or nothing while it ends inside a character."""
        if self._out == len(self._window):
            return ""
        before = self._decode(self._window[: self._out])
        text = self._decode(self._window)
        waits = len(self._window) - self._out < LONGEST and text.endswith(_BROKEN)
        if waits and not last:
            return ""
        # The tokens before may have ended inside a character that these complete.
        fresh = text[len(_common(before, text)) :]
        self._shorten()
        self._out = len(self._window)
        return fresh

    def _shorten(self) -> None:
        """Forget tokens that the next ones can be decoded without.

        Bytes that are tokens are decoded together: a window that began inside a character would
        make all of them invalid.
        """
        if len(self._window) < WINDOW:
            return
        text = self._decode(self._window)
        for start in range(len(self._window) - BEFORE, len(self._window) - 2 * BEFORE, -1):
            rest = self._decode(self._window[start:])
            if rest and not rest.startswith(_BROKEN) and text.endswith(rest):
                self._window = self._window[start:]
                return

    def _release(self, fresh: str, last: bool) -> str:
        if self.stopped:
            return ""
        text = self._held + fresh
        ends = [at for stop in self._stop if (at := text.find(stop)) >= 0]
        if ends:
            self.stopped = True
            text, self._held = text[: min(ends)], ""
        else:
            held = 0 if last else max((_overlap(text, stop) for stop in self._stop), default=0)
            text, self._held = text[: len(text) - held], text[len(text) - held :]
        self.text += text
        return text


def _common(one: str, other: str) -> str:
    """What both texts begin with."""
    size = min(len(one), len(other))
    return one[: next((at for at in range(size) if one[at] != other[at]), size)]


def _overlap(text: str, stop: str) -> int:
    """The longest beginning of a stop text, not the whole of it, that a text ends with."""
    sizes = range(min(len(text), len(stop) - 1), 0, -1)
    return next((size for size in sizes if text.endswith(stop[:size])), 0)
