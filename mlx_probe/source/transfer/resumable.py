"""One file from one or several addresses to this disk, however often the connection breaks.

Bytes that arrived stay in the partial file if the transfer ends early; the next call goes on
after them. huggingface_hub's own download keeps nothing of an unfinished file, and checks only the
length.
"""

from __future__ import annotations

import errno
import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from mlx_probe.core.errors import SourceError
from mlx_probe.core.files import write_all
from mlx_probe.source.transfer.digest import Hasher, PublishedFile
from mlx_probe.source.transfer.http_range import Answer, LostError, RefusedError, asked
from mlx_probe.source.transfer.request import Address
from mlx_probe.source.transfer.retry import RetryPolicy

__all__ = ["Traffic", "TransferError", "transfer"]

# Logged as information: nobody has to act on a connection that is lost and comes back.
_log = logging.getLogger(__name__)

# Most bytes of one request: the Hub's storage sends at most 50 GB in one answer.
PIECE = 4 << 30
_READ = 1 << 20
# An address that has sent bytes with the wrong hash so often is not asked again.
_MOST_WRONG = 2


class TransferError(SourceError):
    """No address gave the file.

    Attributes:
        temporary: Whether trying again later may help.
    """

    temporary = False


@dataclass(frozen=True)
class Traffic:
    """Callbacks of a transfer, called in its thread; either may block or raise.

    Attributes:
        on_bytes: Called with the number of bytes that have just come over the network; with 0
            while the bytes of an earlier call are hashed.
        on_position: Called with a file's name and how many of its bytes are on this disk.
    """

    on_bytes: Callable[[int], None] = lambda count: None
    on_position: Callable[[str, int], None] = lambda name, position: None


@dataclass
class _Route:
    """An address and its failures so far."""

    address: Address
    number: int
    failures: int = 0
    wrong: int = 0
    ready_at: float = 0.0
    reason: str = ""
    refused: Exception | None = None
    used: bool = field(default=False)


def transfer(
    file: PublishedFile,
    addresses: Sequence[Address],
    partial: BinaryIO,
    retry: RetryPolicy | None = None,
    traffic: Traffic | None = None,
) -> PublishedFile:
    """Fetch a file and verify its hash.

    The addresses are asked in order. When one fails, the next is asked at once, and after the
    last the first again, until each has failed too often. A file that arrives with another hash
    is deleted and fetched again, from the next address if there is one.

    Args:
        file: What the publisher says of it. Only a published size and hash can be verified.
        addresses: At least one.
        partial: Open for reading and writing, not buffered; may hold the beginning of the file.
        retry: When to give up.
        traffic: Callbacks.

    Returns:
        The file with the size and SHA-256 that it has.

    Raises:
        TransferError: No address gave the file. ``partial`` keeps the bytes that may be right.
        OSError: Every address refused; huggingface_hub's error of the first.
        SourceError: The disk refused.
    """
    return _Transfer(file, addresses, partial, retry or RetryPolicy(), traffic or Traffic()).run()


class _Transfer:
    def __init__(
        self,
        file: PublishedFile,
        addresses: Sequence[Address],
        partial: BinaryIO,
        retry: RetryPolicy,
        traffic: Traffic,
    ) -> None:
        self._file, self._partial, self._retry = file, partial, retry
        self._traffic = traffic
        self._routes = [_Route(address, number) for number, address in enumerate(addresses)]
        self._hasher = Hasher(file)

    def run(self) -> PublishedFile:
        self._read_partial()
        while True:
            if self._hasher.size == self._file.size:
                wrong = self._hasher.mismatch(self._file)
                if not wrong:
                    return replace(self._file, sha256=self._hasher.sha256)
                self._reject(wrong)
            routes = [route for route in self._routes if not self._is_spent(route)]
            if not routes:
                raise self._give_up()
            now = time.monotonic()
            # Addresses that sent wrong bytes come last; among the rest, the first that is ready.
            route = min(routes, key=lambda r: (r.wrong, max(r.ready_at - now, 0.0), r.number))
            if route.ready_at > now:
                self._retry.sleep(route.ready_at - now)
            self._ask(route)

    def _read_partial(self) -> None:
        """Hash the bytes that an earlier call left."""
        self._partial.seek(0)
        while piece := self._partial.read(_READ):
            self._hasher.update(piece)
            # No byte came, but the callback may stop the transfer here too.
            self._traffic.on_bytes(0)
        if self._file.size is None or self._hasher.size > self._file.size:
            # Too long; or of a file of unknown length, where nobody can say what is missing.
            self._empty()
        self._traffic.on_position(self._file.name, self._hasher.size)

    def _empty(self) -> None:
        try:
            self._partial.truncate(0)
            self._partial.seek(0)
        except OSError as error:
            raise self._disk_error(error) from error
        self._hasher = Hasher(self._file)
        self._traffic.on_position(self._file.name, 0)

    def _reject(self, wrong: str) -> None:
        senders = [route for route in self._routes if route.used]
        for route in senders:
            route.wrong += 1
            route.used = False
            route.reason = f"it sent {wrong}"
        origin = ", ".join(route.address.shown for route in senders) or "an earlier download"
        _log.info("%s: %s has %s; starting over", self._file.name, origin, wrong)
        self._empty()

    def _is_spent(self, route: _Route) -> bool:
        enough = route.failures >= self._retry.tries or route.wrong >= _MOST_WRONG
        return enough or route.refused is not None

    def _ask(self, route: _Route) -> None:
        before = self._hasher.size
        size = self._file.size
        stop = None if size is None else min(before + PIECE, size)
        whole = before == 0 and stop == size
        asked_for: float | None = None
        try:
            with asked(
                self._file, route.address, before, None if whole else stop, self._retry.timeout
            ) as answer:
                self._receive(route, answer, stop)
            end = self._file.size if stop is None else stop
            problem = "" if self._hasher.size == end else "an answer that ends too early"
        except RefusedError as error:
            route.refused = error.__cause__ if isinstance(error.__cause__, Exception) else error
            problem = str(error)
        except LostError as error:
            problem, asked_for = str(error), error.asked
        got = self._hasher.size - before
        if got and got >= min(_READ, (self._file.size or 0) // 100):
            route.failures = 0
        if problem:
            route.failures += 1
            route.reason = problem
            wait = self._retry.wait(route.failures, asked_for)
            route.ready_at = time.monotonic() + wait
            _log.info(
                "%s: %s: %s at byte %d (failure %d)",
                self._file.name,
                route.address.shown,
                problem,
                self._hasher.size,
                route.failures,
            )

    def _receive(self, route: _Route, answer: Answer, stop: int | None) -> None:
        """Append the new bytes of an answer to the partial file."""
        known = self._file.size
        if known is None and answer.size is not None:
            self._file = replace(self._file, size=answer.size)
            stop = answer.size
        # A server without ranges sends the whole file. The bytes that are here are skipped and
        # not deleted, so that one more lost connection loses nothing.
        position = answer.start
        for piece in answer.pieces:
            new = piece[max(self._hasher.size - position, 0) :]
            if stop is not None:
                new = new[: stop - self._hasher.size]
            position += len(piece)
            if new:
                route.used = True
                self._keep(new)
            # After the write: the callback may end the transfer.
            self._traffic.on_bytes(len(piece))
            if stop is not None and self._hasher.size >= stop:
                return
        if self._file.size is None:
            # The length was unknown; the answer ended without an error.
            self._file = replace(self._file, size=self._hasher.size)

    def _keep(self, piece: bytes) -> None:
        try:
            self._partial.seek(self._hasher.size)
            write_all(self._partial, piece)
        except OSError as error:
            raise self._disk_error(error) from error
        self._hasher.update(piece)
        self._traffic.on_position(self._file.name, self._hasher.size)

    def _disk_error(self, error: OSError) -> SourceError:
        remedy = "Check the disk, then run the same command again: what is there is kept"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            remedy = "Free space on that disk, then run the same command again"
        reason = os.strerror(error.errno) if error.errno else str(error)
        return SourceError(f"cannot write {self._file.name}: {reason}", remedy)

    def _give_up(self) -> Exception:
        reasons = "; ".join(f"{route.address.shown}: {route.reason}" for route in self._routes)
        cause = next((r.refused for r in self._routes if r.refused is not None), None)
        if all(isinstance(route.refused, OSError) for route in self._routes) and cause is not None:
            # The Hub's own reason, for which `hub.errors` has a remedy.
            return cause
        if any(route.wrong for route in self._routes):
            error = TransferError(
                f"{self._file.name} arrives damaged: {reasons}",
                "Check the disk and the memory of this machine, or fetch from another --endpoint",
            )
        else:
            error = TransferError(
                f"cannot download {self._file.name}: {reasons}",
                "Check the connection, then run the same command again: what is there is kept",
            )
        error.temporary = any(route.refused is None for route in self._routes)
        error.__cause__ = cause
        return error
