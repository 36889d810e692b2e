"""Persistent HTTP/1.1 connections on asyncio, with the time at which each piece came.

A protocol instead of asyncio's streams: the time is taken in the call that reads the socket, and
no task has to be woken for a chunk.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mlx_probe.lab.load_test.address import Address
from mlx_probe.lab.load_test.response import ProtocolError, ResponseParser

__all__ = ["Client", "OnData", "OnHead", "explained"]

# Called with the time at which a piece of the body came, and the piece.
OnData = Callable[[float, bytes], None]
# Called when the head of the response is there; returns what takes the body.
OnHead = Callable[[ResponseParser], OnData]


class _Connection(asyncio.Protocol):
    """One connection; requests go through it one after another."""

    def __init__(self) -> None:
        self.open = False
        self._transport: asyncio.Transport | None = None
        self._parser = ResponseParser()
        self._answer: asyncio.Future[None] | None = None
        self._on_head: OnHead | None = None
        self._on_data: OnData | None = None
        self.received = False
        self.last = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport, self.open = transport, True

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        if self._answer is None or self._answer.done():
            self.abort()  # nobody has asked
            return
        self.received, self.last = True, now
        try:
            body = self._parser.feed(data)
            if self._parser.status and self._on_data is None:
                assert self._on_head is not None
                self._on_data = self._on_head(self._parser)
            if body and self._on_data is not None:
                self._on_data(now, body)
        except Exception as error:
            # Also what the caller makes of a piece: the request has failed, not the test.
            self._answer.set_exception(error)
            self.abort()
            return
        if self._parser.done:
            self._answer.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        if self._answer is not None and not self._answer.done():
            if exc is None and self._parser.close():
                self._answer.set_result(None)
            else:
                self._answer.set_exception(
                    ConnectionError(str(exc) if exc else "the server closed the connection")
                )

    async def exchange(self, request: bytes, on_head: OnHead) -> ResponseParser:
        """Send a request, and wait until its response is whole."""
        assert self._transport is not None
        self._parser, self._on_head, self._on_data = ResponseParser(), on_head, None
        self.received = False
        self.last = time.perf_counter()
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        await self._answer
        return self._parser

    def abort(self) -> None:
        """Close at once."""
        self.open = False
        if self._transport is not None:
            self._transport.abort()


class Client:
    """Connections to one server, as many as there are requests at a time.

    Args:
        address: The server.
        headers: Of every request.
        stall_timeout: Seconds without a byte after which a request fails; 0 for no limit.
    """

    def __init__(
        self, address: Address, headers: Mapping[str, str], stall_timeout: float = 0.0
    ) -> None:
        self._address, self._stall = address, stall_timeout
        self._headers = {"Host": address.authority, "Accept-Encoding": "identity", **headers}
        self._idle: list[_Connection] = []
        self._found: Sequence[tuple[Any, ...]] | None = None
        self._tls = ssl.create_default_context() if address.secure else None

    async def request(
        self,
        method: str,
        path: str,
        body: bytes,
        on_head: OnHead,
        on_start: Callable[[float], None] = lambda now: None,
    ) -> None:
        """Make a request.

        Args:
            method: "GET" or "POST".
            path: With the leading slash.
            body: JSON; empty for none.
            on_head: See `OnHead`.
            on_start: Called with the time at which it is sent, or a connection for it is opened.

        Raises:
            OSError: There is no connection, or it broke.
            ProtocolError: The server speaks no HTTP.
            TimeoutError: No byte came for as long as is allowed.
        """
        lines = [f"{method} {path} HTTP/1.1"]
        headers = dict(self._headers)
        if body:
            headers |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
        lines += [f"{name}: {value}" for name, value in headers.items()]
        message = "\r\n".join((*lines, "", "")).encode("latin-1", "replace") + body
        # Here, where nothing comes between it and the write, if there is an idle connection.
        on_start(time.perf_counter())
        while True:
            connection, is_new = await self._connected()
            try:
                parser = await self._watched(connection, message, on_head)
            except ConnectionError:
                connection.abort()
                # A server may close an idle connection at the moment at which it is used again.
                if is_new or connection.received:
                    raise
                continue
            except BaseException:
                connection.abort()
                raise
            if parser.keep_alive and connection.open:
                self._idle.append(connection)
            else:
                connection.abort()
            return

    async def open(self, count: int) -> None:
        """Open connections before there are requests for them; why one fails, its request says."""
        opening = (self._new() for _ in range(count))
        found = await asyncio.gather(*opening, return_exceptions=True)
        self._idle += [one for one in found if isinstance(one, _Connection)]

    async def close(self) -> None:
        """Close all connections."""
        for connection in self._idle:
            connection.abort()
        self._idle.clear()
        # Transports close in the loop's next turn.
        await asyncio.sleep(0)

    async def _connected(self) -> tuple[_Connection, bool]:
        while self._idle:
            connection = self._idle.pop()
            if connection.open:
                return connection, False
        return await self._new(), True

    async def _new(self) -> _Connection:
        loop = asyncio.get_running_loop()
        host, port = self._address.host, self._address.port
        if self._found is None:
            self._found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        error: OSError | None = None
        # Asked once: a name is looked up in a thread, whose work would show in the latencies.
        for _, _, _, _, place in self._found:
            try:
                _, connection = await loop.create_connection(
                    _Connection,
                    place[0],
                    port,
                    ssl=self._tls,
                    server_hostname=host if self._tls else None,
                )
                return connection
            except OSError as failure:
                error = error or failure
        raise error or OSError(f"no address of {host}")

    async def _watched(
        self,
        connection: _Connection,
        message: bytes,
        on_head: OnHead,
    ) -> ResponseParser:
        """The exchange, given up when no byte comes."""
        exchange = connection.exchange(message, on_head)
        if not self._stall:
            return await exchange
        task = asyncio.ensure_future(exchange)
        try:
            left = self._stall
            while left > 0:
                done, _ = await asyncio.wait({task}, timeout=left)
                if done:
                    return task.result()
                left = connection.last + self._stall - time.perf_counter()
        finally:
            task.cancel()
        raise TimeoutError(f"no byte for {self._stall:g} s")


def explained(error: BaseException) -> str:
    """What a failed request says of itself."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, (ProtocolError, OSError)) and str(error):
        return str(error)
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
