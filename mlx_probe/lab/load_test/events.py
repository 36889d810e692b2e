"""Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

from __future__ import annotations

__all__ = ["EventParser"]

_MARK = b"\xef\xbb\xbf"


class EventParser:
    """Takes bytes as they come, and gives the data of the events that are whole.

    Bytes, because a piece may end inside a character.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._is_first = True

    def feed(self, piece: bytes) -> list[bytes]:
        """The data of the events that end in a piece; comments and events without data are none."""
        text = self._rest + piece if self._rest else piece
        if self._is_first and len(text) >= len(_MARK):
            text, self._is_first = text.removeprefix(_MARK), False
        held = b""
        if b"\r" in text:
            if text.endswith(b"\r"):  # the first half of a line end, perhaps
                text, held = text[:-1], b"\r"
            text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *whole, rest = text.split(b"\n\n")
        self._rest = rest + held
        return [data for event in whole if (data := _data(event)) is not None]

    def finish(self) -> list[bytes]:
        """The data of an event that the stream ended in; some servers leave out its last line."""
        data = _data(self._rest.replace(b"\r", b"\n"))
        self._rest = b""
        return [] if data is None else [data]


def _data(event: bytes) -> bytes | None:
    lines = [
        line[5:].removeprefix(b" ") for line in event.split(b"\n") if line.startswith(b"data:")
    ]
    return b"\n".join(lines) if lines else None
