"""Encodes groups of documents in several processes, and gives the results in order.

Own processes rather than `multiprocessing`: those import the user's script again, and what is
forked shares threads and locks. A process of this module reads groups from its standard input and
ends with it, so that nothing is left when the parent is killed.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlx_probe.core.errors import ResultError
from mlx_probe.lab.data.encoding import Encoded, Encoder

if TYPE_CHECKING:
    from mlx_probe.lab.data.tokenizer import Tokenizer

__all__ = ["Group", "encode_groups"]


@dataclass(frozen=True)
class Group:
    """Documents that are encoded together.

    Attributes:
        documents: Documents of the corpus up to the end of the group, dropped ones included.
        bytes: Bytes of the group's text.
        texts: The documents.
        is_validation: For each, whether it is for validation.
    """

    documents: int
    bytes: int
    texts: list[str]
    is_validation: list[bool]


def encode_groups(
    groups: Iterator[Group], tokenizer: Tokenizer, processes: int
) -> Generator[tuple[Group, Encoded]]:
    """Encode groups; they come back in order, whatever the number of processes.

    Args:
        groups: Read as they are needed; two for each process are in memory.
        tokenizer: Encodes; other processes read it from its folder.
        processes: Processes that encode; 1 for this one alone.

    Raises:
        ResultError: A process ended, for example for want of memory.
    """
    if processes <= 1:
        encoder = Encoder(tokenizer)
        for group in groups:
            yield group, encoder.encode(group.texts, group.is_validation)
        return
    waiting: deque[tuple[Group, Future[Encoded]]] = deque()
    with ExitStack() as stack:
        pool = _Pool(tokenizer.folder)
        # Ends the processes first: a thread that waits for one of them goes on then.
        threads = stack.enter_context(ThreadPoolExecutor(processes, "encoder"))
        stack.callback(pool.close)
        for group in groups:
            waiting.append((group, threads.submit(pool.encode, group)))
            if len(waiting) > 2 * processes:
                first, encoded = waiting.popleft()
                yield first, encoded.result()
        while waiting:
            first, encoded = waiting.popleft()
            yield first, encoded.result()


class _Pool:
    """One process for each thread that encodes."""

    def __init__(self, folder: Path) -> None:
        self._command = [sys.executable, "-m", __name__, str(folder)]
        self._own = threading.local()
        self._all: list[subprocess.Popen[bytes]] = []
        self._closed = False

    def encode(self, group: Group) -> Encoded:
        """Have this thread's process encode a group."""
        if self._closed:
            raise ResultError("closed", "Start again")
        process = getattr(self._own, "process", None)
        if process is None:
            process = self._own.process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            self._all.append(process)
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            pickle.dump((group.texts, group.is_validation), process.stdin, pickle.HIGHEST_PROTOCOL)
            process.stdin.flush()
            encoded: Encoded = pickle.load(process.stdout)
        except (OSError, EOFError, pickle.UnpicklingError, ValueError) as error:
            with suppress(subprocess.TimeoutExpired):
                process.wait(5)
            raise ResultError(
                f"a process that encodes ended with {process.returncode}",
                "Run the same command again to go on; use fewer --workers if memory was short",
            ) from error
        return encoded

    def close(self) -> None:
        """End the processes; groups that wait are dropped."""
        self._closed = True
        for process in self._all:
            process.kill()
        for process in self._all:
            process.wait()
            for pipe in (process.stdin, process.stdout):
                # Bytes that the process did not take.
                with suppress(OSError, AttributeError):
                    pipe.close()  # type: ignore[union-attr]


def _serve(folder: Path) -> None:
    """Encode what comes on standard input until it ends."""
    from mlx_probe.lab.data.tokenizer import load_tokenizer

    # The parent says when it is over.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    encoder = Encoder(load_tokenizer(folder))
    source, target = sys.stdin.buffer, sys.stdout.buffer
    while True:
        try:
            texts, is_validation = pickle.load(source)
        except EOFError:
            return
        encoded = encoder.encode(texts, is_validation)
        try:
            pickle.dump(encoded, target, pickle.HIGHEST_PROTOCOL)
            target.flush()
        except BrokenPipeError:
            # The parent was killed.
            os._exit(1)


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
