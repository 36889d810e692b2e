"""An HTTP/1.1 response, read as its bytes come (RFC 9112)."""

from __future__ import annotations

__all__ = ["ProtocolError", "ResponseParser"]

# A head of more bytes is none.
LONGEST_HEAD = 64 * 1024


class ProtocolError(Exception):
    """What came is no HTTP response."""


class ResponseParser:
    """Takes bytes, and gives those of the body.

    Attributes:
        status: The status code; 0 before the head is there.
        reason: Words that follow it.
        headers: By name in lower case.
        done: Whether the whole response is there.
    """

    def __init__(self) -> None:
        self.status = 0
        self.reason = ""
        self.headers: dict[str, str] = {}
        self.done = False
        self._rest = b""
        # Bytes until the body or its current chunk ends; None until the connection does.
        self._left: int | None = None
        self._chunked = self._trailer = self._old = False

    @property
    def keep_alive(self) -> bool:
        """Whether the connection takes another request after this response."""
        asked = self.headers.get("connection", "").lower()
        return "close" not in asked and ("keep-alive" in asked or not self._old)

    def feed(self, data: bytes) -> bytes:
        """The bytes of the body among the next ones of the connection.

        Raises:
            ProtocolError: They are no HTTP.
        """
        if self._rest:
            data, self._rest = self._rest + data, b""
        if not self.status:
            head, end, rest = data.partition(b"\r\n\r\n")
            if not end:
                if len(data) > LONGEST_HEAD:
                    raise ProtocolError("the head of the response has no end")
                self._rest = data
                return b""
            if not self._read_head(head):
                return self.feed(rest)
            data = rest
        if self._chunked:
            return self._dechunk(data)
        if self._left is None:
            return data
        body, self._left = data[: self._left], max(0, self._left - len(data))
        self.done = self._left == 0
        return body

    def close(self) -> bool:
        """Say that the connection has ended; whether the response is whole."""
        if self.status and not self._chunked and self._left is None:
            self.done = True
        return self.done

    def _read_head(self, head: bytes) -> bool:
        """Whether it is the response's own: one of 1xx comes before it."""
        first, *lines = head.decode("latin-1").split("\r\n")
        version, _, rest = first.partition(" ")
        code, _, reason = rest.partition(" ")
        if not version.startswith("HTTP/1.") or not code.isdigit():
            raise ProtocolError(f"no HTTP response: {first[:80]!r}")
        if 100 <= int(code) < 200:
            return False
        self._old = version == "HTTP/1.0"
        for line in lines:
            name, _, value = line.partition(":")
            self.headers[name.strip().lower()] = value.strip()
        self.status, self.reason = int(code), reason
        self._chunked = "chunked" in self.headers.get("transfer-encoding", "").lower()
        length = self.headers.get("content-length", "")
        if self._chunked:
            self._left = 0
        elif self.status in (204, 304):
            self._left, self.done = 0, True
        elif length:
            if not length.isdigit():
                raise ProtocolError(f"the length of the response is {length[:40]!r}")
            self._left = int(length)
            self.done = self._left == 0
        return True

    def _dechunk(self, data: bytes) -> bytes:
        body, at = [], 0
        while not self.done:
            if self._left:
                # The bytes of a chunk, and the line end after them.
                piece = data[at : at + self._left]
                body.append(piece[: self._left - 2] if self._left > 2 else b"")
                at += len(piece)
                self._left -= len(piece)
                if self._left:
                    break
            end = data.find(b"\r\n", at)
            if end < 0:
                self._rest = data[at:]
                break
            line, at = data[at:end], end + 2
            if self._trailer:
                self.done = not line
                continue
            size = line.partition(b";")[0].strip()
            try:
                count = int(size, 16)
            except ValueError as error:
                raise ProtocolError(f"no size of a chunk: {line[:40]!r}") from error
            if count:
                self._left = count + 2
            else:
                self._trailer = True
        return b"".join(body)
