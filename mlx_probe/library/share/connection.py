"""One connection: read a request, decide, write the audit log, answer, close.

A connection has one request. What comes behind it, such as a second one that a server in between
does not see, is not read.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from email.utils import formatdate
from http import HTTPStatus

import h11

from mlx_probe.core.language import tr
from mlx_probe.core.version import __version__
from mlx_probe.library.share.answer import SECURITY, Answer, Door, plain_answer
from mlx_probe.library.share.audit import AuditLog, hidden
from mlx_probe.library.share.config import ShareConfig
from mlx_probe.library.share.request import BadRequestError, Request, read_request

__all__ = ["converse", "note_refused"]

# Bytes of a file in memory, and what a client has `write_timeout` for.
_BLOCK = 65536
# Seconds and bytes that a client may go on sending, so that it reads the answer.
_LINGER, _DRAINED = 1.0, 1 << 20
_log = logging.getLogger(__name__)


def converse(
    client: socket.socket,
    address: tuple[str, int],
    number: int,
    door: Door,
    audit: AuditLog,
    config: ShareConfig,
) -> None:
    """Serve one connection, and close it.

    Args:
        client: The connection.
        address: The client's address and port.
        number: Number of the connection.
        door: What decides.
        audit: Gets a line before anything is sent.
        config: Limits.

    Raises:
        AuditError: The line could not be written; nothing was sent.
    """
    parser = h11.Connection(h11.SERVER, max_incomplete_event_size=config.longest_head)
    request: Request | None = None
    answer: Answer | None = None
    began = ""
    with client:
        try:
            request = read_request(client, parser, config)
            answer = _decided(door, request, address[0])
        except BadRequestError as error:
            began = error.line
            reason = error.reason
            answer = plain_answer(error.status, tr("This is no request."), reason)
        try:
            sends = answer.status != 0 and (request is None or request.method != "HEAD")
            planned = answer.size if sends else 0
            audit.append(
                "request",
                number=number,
                guest=answer.guest,
                address=address[0],
                port=address[1],
                method=hidden(request.method if request else ""),
                path=hidden(request.target if request else began),
                status=answer.status,
                bytes=planned,
                reason=hidden(answer.reason),
                agent=hidden(request.headers.get("user-agent", "") if request else ""),
            )
            sent = _send(client, parser, answer, planned, config) if answer.status else 0
        finally:
            if answer.file is not None:
                os.close(answer.file)
        if sent < planned:
            audit.append("cut", number=number, bytes=sent)
        elif answer.status:
            _linger(client)


def note_refused(
    client: socket.socket, address: tuple[str, int], number: int, audit: AuditLog
) -> None:
    """Turn a connection away because there are too many.

    Raises:
        AuditError: The line could not be written.
    """
    answer = plain_answer(503, tr("Too many connections."), "too many connections", Retry_After="5")
    with client:
        audit.append(
            "request",
            number=number,
            guest="",
            address=address[0],
            port=address[1],
            method="",
            path="",
            status=answer.status,
            bytes=answer.size,
            reason=answer.reason,
            agent="",
        )
        # Nobody waits for this client: what does not fit into the system's buffer is lost.
        client.setblocking(False)
        parser = h11.Connection(h11.SERVER)
        with suppress(OSError):
            client.sendall(_head(parser, answer) + answer.body)


def _decided(door: Door, request: Request, address: str) -> Answer:
    try:
        return door.answer(request, address)
    except Exception:
        # A bug of ours: logged, and the guest gets no more than that.
        _log.exception("no answer to %r", hidden(request.target))
        return plain_answer(500, tr("Something went wrong here."), "internal error")


def _head(parser: h11.Connection, answer: Answer) -> bytes:
    headers = {
        "Date": formatdate(time.time(), usegmt=True),
        "Server": f"mlx-probe/{__version__}",
        **SECURITY,
        **answer.headers,
        "Content-Length": str(answer.size),
        "Connection": "close",
    }
    response = h11.Response(
        status_code=answer.status,
        headers=list(headers.items()),
        reason=HTTPStatus(answer.status).phrase,
    )
    return parser.send(response) or b""


def _send(
    client: socket.socket,
    parser: h11.Connection,
    answer: Answer,
    planned: int,
    config: ShareConfig,
) -> int:
    """Send an answer.

    Returns:
        Bytes of the body that the client's system took.
    """
    sent = 0
    try:
        client.settimeout(config.write_timeout)
        client.sendall(_head(parser, answer))
        for block in _blocks(answer, planned):
            # For each block, so that a client that reads a byte now and then is given up.
            client.settimeout(config.write_timeout)
            client.sendall(block)
            sent += len(block)
        client.shutdown(socket.SHUT_WR)
    except OSError:
        # Gone, or too slow: closing says so.
        pass
    return sent


def _blocks(answer: Answer, planned: int) -> Iterator[bytes | memoryview]:
    if answer.file is None:
        body = memoryview(answer.body)[:planned]
        for at in range(0, planned, _BLOCK):
            yield body[at : at + _BLOCK]
        return
    left = planned
    while left > 0 and (block := os.read(answer.file, min(_BLOCK, left))):
        left -= len(block)
        yield block


def _linger(client: socket.socket) -> None:
    """Read on for a moment: with bytes unread, the system would take the answer back."""
    until, left = time.monotonic() + _LINGER, _DRAINED
    with suppress(OSError):
        while left > 0 and (wait := until - time.monotonic()) > 0:
            client.settimeout(wait)
            piece = client.recv(_BLOCK)
            if not piece:
                break
            left -= len(piece)
