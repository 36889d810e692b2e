"""Reading one request from a connection, within limits of time and size. h11 parses it."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import h11

from mlx_probe.library.share.config import ShareConfig

__all__ = ["BadRequestError", "Request", "read_request"]

_PIECE = 4096


@dataclass(frozen=True)
class Request:
    """A request that could be read.

    Attributes:
        method: As it was sent.
        target: What it asks for, as it was sent.
        headers: Values by name in small letters; of several with one name the last.
        version: Of HTTP.
        has_body: Whether a body follows, or is said to.
        extra: Bytes that came behind it.
    """

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    version: str = "1.1"
    has_body: bool = False
    extra: int = 0


class BadRequestError(Exception):
    """What came is no request, or is not complete in time.

    Args:
        status: The answer's; 0 for none, the client has left.
        reason: Why, for the audit log.
        began: How it began, at most a line.
    """

    def __init__(self, status: int, reason: str, began: bytes) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason
        line = began.partition(b"\n")[0].rstrip(b"\r")[:1024]
        self.line = line.decode("latin-1")


def read_request(client: socket.socket, parser: h11.Connection, config: ShareConfig) -> Request:
    """Read a request, but not its body.

    Args:
        client: The connection.
        parser: A new one, as a server.
        config: Limits.

    Raises:
        BadRequestError: There is none.
    """
    deadline = time.monotonic() + config.head_timeout
    began = b""
    while True:
        try:
            event = parser.next_event()
        except h11.RemoteProtocolError as error:
            status = error.error_status_hint
            raise BadRequestError(status, f"malformed: {error}", began) from error
        if isinstance(event, h11.Request):
            return _request(event, len(parser.trailing_data[0]))
        if isinstance(event, h11.ConnectionClosed):
            raise BadRequestError(0, "closed without a request", began)
        left = deadline - time.monotonic()
        try:
            # All pieces together have this time: a byte now and then does not extend it.
            if left <= 0:
                raise TimeoutError
            client.settimeout(left)
            piece = client.recv(_PIECE)
        except TimeoutError as error:
            raise BadRequestError(408, "not complete in time", began) from error
        except OSError as error:
            raise BadRequestError(0, "connection lost", began) from error
        began = (began + piece)[:_PIECE]
        parser.receive_data(piece)


def _request(event: h11.Request, extra: int) -> Request:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers}
    length = headers.get("content-length", "0")
    return Request(
        method=event.method.decode("ascii"),
        target=event.target.decode("latin-1"),
        headers=headers,
        version=event.http_version.decode("ascii"),
        has_body="transfer-encoding" in headers or length != "0",
        extra=extra,
    )
