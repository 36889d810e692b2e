"""Several files of a model at a time, each to its place once it is proved right."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from mlx_probe.source.transfer.destination import Destination
from mlx_probe.source.transfer.digest import PublishedFile, hash_file
from mlx_probe.source.transfer.http_range import Address
from mlx_probe.source.transfer.resumable import Traffic, transfer
from mlx_probe.source.transfer.retry import RetryPolicy
from mlx_probe.source.transfer.threads import LOOK, Stop, in_threads

__all__ = ["FileRequest", "bring", "bring_all"]


@dataclass(frozen=True)
class FileRequest:
    """A file to bring.

    Attributes:
        file: What the publisher says of it.
        addresses: Where it can be had.
        key: Name for it while it is not complete; of its content.
        again: Whether what is there already is known to be wrong, however long it is.
    """

    file: PublishedFile
    addresses: Sequence[Address] = field(repr=False)
    key: str
    again: bool = False


def bring(
    request: FileRequest, destination: Destination, retry: RetryPolicy, traffic: Traffic
) -> PublishedFile:
    """Bring one file to its place; waits for another process that is at it.

    Raises:
        TransferError: No address gave the file.
        SourceError: The disk refused, or the file's name is taken by something else.
        OSError: The place cannot be written.
    """
    file = request.file
    with destination.lock(request.key):
        if not request.again and (found := destination.find(file)):
            # Another process was quicker.
            there = hash_file(found, file)
            if not there.mismatch(file):
                traffic.on_position(file.name, there.size)
                return replace(file, size=there.size, sha256=there.sha256)
        with destination.open_partial(request.key) as partial:
            done = transfer(file, request.addresses, partial, retry, traffic)
            if not done.size:
                # An empty file is nothing that is left of a download.
                destination.keep(done, request.key)
                return done
            os.fsync(partial.fileno())
        destination.keep(done, request.key)
    return done


def bring_all(
    requests: Sequence[FileRequest],
    destination: Destination,
    workers: int = 4,
    retry: RetryPolicy | None = None,
    traffic: Traffic | None = None,
    on_done: Callable[[PublishedFile], None] = lambda file: None,
) -> list[PublishedFile]:
    """Bring files, several at a time; after a failure all stop, and what is here stays here.

    Args:
        requests: The files.
        destination: Where they go.
        workers: How many at a time.
        retry: When to give up on a file.
        traffic: Who is told what arrives, in the threads it arrives in.
        on_done: Called in this thread with each file that is complete, with its SHA-256.

    Returns:
        The files with their sizes and hashes, in the order of ``requests``.

    Raises:
        TransferError: No address gave one of the files.
        SourceError: See `bring`.
        OSError: See `bring`.
    """
    stop = Stop()
    calm, told = _stoppable(retry or RetryPolicy(), traffic or Traffic(), stop)
    return in_threads(
        lambda request: bring(request, destination, calm, told), requests, workers, stop, on_done
    )


def _stoppable(retry: RetryPolicy, traffic: Traffic, stop: Stop) -> tuple[RetryPolicy, Traffic]:
    def sleep(seconds: float) -> None:
        while seconds > 0:
            stop.check()
            retry.sleep(min(LOOK, seconds))
            seconds -= LOOK

    def on_bytes(count: int) -> None:
        traffic.on_bytes(count)
        stop.check()

    return replace(retry, sleep=sleep), replace(traffic, on_bytes=on_bytes)
