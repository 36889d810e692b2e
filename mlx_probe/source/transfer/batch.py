"""Several files of a model at a time; each gets its name only after its hash is verified."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace

from mlx_probe.source.transfer.destination import Destination
from mlx_probe.source.transfer.digest import PublishedFile, hash_file
from mlx_probe.source.transfer.progress import DownloadProgress
from mlx_probe.source.transfer.request import FileRequest
from mlx_probe.source.transfer.resumable import Traffic, transfer
from mlx_probe.source.transfer.retry import RetryPolicy
from mlx_probe.source.transfer.threads import POLL_SECONDS, Stop, in_threads

__all__ = ["fetch_file", "fetch_files"]


def fetch_file(
    request: FileRequest, destination: Destination, retry: RetryPolicy, traffic: Traffic
) -> PublishedFile:
    """Fetch one file; waits while another process fetches it.

    Raises:
        TransferError: No address gave the file.
        SourceError: The disk refused, or a folder has the file's name.
        OSError: The destination cannot be written.
    """
    file = request.file
    with destination.lock(request.key):
        if not request.again and (path := destination.find(file)):
            # Another process fetched it while this one waited.
            hasher = hash_file(path, file)
            if not hasher.mismatch(file):
                traffic.on_position(file.name, hasher.size)
                return replace(file, size=hasher.size, sha256=hasher.sha256)
        with destination.open_partial(request.key) as partial:
            done = transfer(file, request.addresses, partial, retry, traffic)
            if not done.size:
                # `open_partial` removes an empty file when it closes it.
                destination.keep(done, request.key)
                return done
            os.fsync(partial.fileno())
        destination.keep(done, request.key)
    return done


def fetch_files(
    requests: Sequence[FileRequest],
    destination: Destination,
    workers: int = 4,
    retry: RetryPolicy | None = None,
    progress: DownloadProgress | None = None,
    on_bytes: Callable[[int], None] = lambda count: None,
) -> list[PublishedFile]:
    """Fetch files, several at a time; after a failure all stop, and complete files stay.

    Args:
        requests: The files.
        destination: Where they go.
        workers: How many at a time.
        retry: When to give up on a file.
        progress: Shows how far it is; None for nothing.
        on_bytes: Called with the number of bytes that have just come over the network, in the
            thread that received them; may block or raise.

    Returns:
        The files with their sizes and hashes, in the order of ``requests``.

    Raises:
        TransferError: No address gave one of the files.
        SourceError: See `fetch_file`.
        OSError: See `fetch_file`.
    """
    retry, progress = retry or RetryPolicy(), progress or DownloadProgress()
    progress.begin(
        {request.file.name: request.file.size or 0 for request in requests},
        {request.file.name: destination.partial_size(request.key) for request in requests},
    )
    stop = Stop()

    def count(received: int) -> None:
        progress.count(received)
        on_bytes(received)
        stop.check()

    def sleep(seconds: float) -> None:
        while seconds > 0:
            stop.check()
            retry.sleep(min(POLL_SECONDS, seconds))
            seconds -= POLL_SECONDS

    traffic, stoppable = Traffic(count, progress.move), replace(retry, sleep=sleep)
    return in_threads(
        lambda request: fetch_file(request, destination, stoppable, traffic),
        requests,
        workers,
        stop,
        lambda file: progress.finish(file.name, file.size or 0),
    )
