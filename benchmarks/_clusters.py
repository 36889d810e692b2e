"""A cluster of Dask on loopback: a scheduler and workers, each a process that can be killed."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any

__all__ = ["LoopbackCluster"]


class LoopbackCluster:
    """A scheduler and workers of one thread, which end with the block.

    Args:
        folder: For the logs of all processes.
        workers: Workers to start at once.
        memory: Bytes that each may take.

    Attributes:
        address: The scheduler's.
        workers: Processes of the workers by name, also of those that ended.
    """

    def __init__(self, folder: Path, workers: int = 2, memory: int = 2_000_000_000) -> None:
        self._folder, self._memory = folder, memory
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self._port}"
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        self._processes: list[subprocess.Popen[bytes]] = []
        self.start_scheduler()
        for number in range(workers):
            self.start_worker(f"w{number}")

    def start_scheduler(self) -> None:
        """Start the scheduler, at the same address as before."""
        words = ["--host", "127.0.0.1", "--port", str(self._port), "--no-dashboard"]
        self.scheduler = self._start("scheduler", words)

    def start_worker(
        self,
        name: str,
        options: Sequence[str] = (),
        memory: int | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a worker.

        Args:
            name: Its name.
            options: More words of its command.
            memory: Bytes that it may take; 0 to declare none, None for what all have.
            variables: Of its environment, besides those of this process.
        """
        memory = self._memory if memory is None else memory
        words = [self.address, "--name", name, "--nthreads", "1", "--no-nanny", "--no-dashboard"]
        words += ["--host", "127.0.0.1", "--memory-limit", "0"]
        words += ["--resources", f"MEMORY={memory}"] if memory else []
        words += ["--local-directory", str(self._folder), *options]
        self.workers[name] = self._start("worker", words, variables or {})
        return self.workers[name]

    def wait_for_workers(self, count: int) -> None:
        """Wait until so many workers are there."""
        from distributed import Client

        make: Any = Client  # it has no types
        with make(self.address, set_as_default=False, timeout=30) as client:
            client.wait_for_workers(count, timeout=60)

    def restart_scheduler(self) -> None:
        """Kill the scheduler and start it again; workers that have lost theirs end themselves."""
        self.scheduler.kill()
        self.scheduler.wait()
        for worker in self.workers.values():
            worker.kill()
            worker.wait()
        self.start_scheduler()
        for name in list(self.workers):
            self.start_worker(name)

    def close(self) -> None:
        """End all processes."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()

    def __enter__(self) -> LoopbackCluster:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _start(
        self, what: str, words: Sequence[str], variables: Mapping[str, str] = MappingProxyType({})
    ) -> subprocess.Popen[bytes]:
        log = self._folder / f"{what}-{len(self._processes)}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.dask_{what}", *words],
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **variables},
            )
        self._processes.append(process)
        return process
