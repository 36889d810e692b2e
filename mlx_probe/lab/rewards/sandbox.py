"""Calls of registered functions, in a process with limits on time, memory and output.

A call is a name and JSON arguments. The name must be a key of a table that the user registered,
and its function gets the arguments by name: nothing that a model wrote is compiled, imported or
evaluated. Registered functions are the user's own code and are trusted to be pure; the limits
are against arguments that make them run without end, not against hostile functions.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.function_calls.call import Call
from mlx_probe.lab.rewards.outcome import Outcome

__all__ = ["BUILT_IN", "Sandbox"]

_HERE = Path(__file__).parent
# The functions of functions.py.
BUILT_IN = f"{_HERE / 'functions.py'}:FUNCTIONS"
# Seconds for the process to import its table, and beyond a call's own time for it to answer.
_START, _ANSWER = 60.0, 5.0
# Seconds between two looks at the memory of a call, and results that are kept.
_LOOK, _KEPT = 0.02, 10_000


class Sandbox:
    """A process that runs registered functions; closes with ``with`` or `close`.

    Attributes:
        functions: Names of the registered functions.
    """

    def __init__(
        self,
        table: str = BUILT_IN,
        seconds: float = 1.0,
        memory: int = 256 << 20,
        output: int = 1 << 16,
    ) -> None:
        """Start the process.

        Args:
            table: ``module:TABLE`` or ``file.py:TABLE``, a mapping of names to functions.
            seconds: Time that a call may take.
            memory: Bytes that it may take.
            output: Bytes that its result may have as JSON.

        Raises:
            ConfigError: The table cannot be imported, or is something else.
        """
        place, _, name = table.rpartition(":")
        if not place or not name:
            raise ConfigError(f"{table!r} names no table of functions", "Write module:TABLE")
        paths = [os.path.abspath(path) for path in sys.path]  # noqa: PTH100  "" is here
        self._arguments = json.dumps([table, paths, seconds, memory, output])
        self._seconds, self._memory, self._output = seconds, memory, output
        self._table = table
        self._lock = threading.Lock()
        self._kept: dict[str, Outcome] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self.functions: frozenset[str] = frozenset()
        self._start()

    def run(self, call: Call) -> Outcome:
        """Execute a call; the same call again is not executed again."""
        if call.name not in self.functions:
            return Outcome("unknown", text=f"{call.name} is not registered")
        try:
            request = json.dumps([call.name, dict(call.arguments)], sort_keys=True)
        except (TypeError, ValueError, RecursionError):
            return Outcome("error", text="the arguments are no JSON")
        with self._lock:
            if request in self._kept:
                return self._kept[request]
            outcome = self._ask(request)
            # A machine that is busy makes calls slow: only what the function itself says stays.
            if outcome.kind in ("ok", "error") and len(self._kept) < _KEPT:
                self._kept[request] = outcome
            return outcome

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def __enter__(self) -> Sandbox:
        """Return the sandbox."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the process."""
        self.close()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            # Isolated: neither the folder, nor the environment, nor the user's site count.
            [sys.executable, "-I", str(_HERE / "worker.py"), self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"LANG": "C.UTF-8"},
            start_new_session=True,
        )
        reply = self._reply(_START, watch=False)
        if reply is None or reply.kind != "ok":
            self._end()
            why = "its process ended" if reply is None else reply.text
            raise ConfigError(
                f"the functions of {self._table} cannot be imported: {why}",
                "Name a mapping of names to functions: module:TABLE or file.py:TABLE",
            )
        self.functions = frozenset(reply.value)

    def _ask(self, request: str) -> Outcome:
        """The outcome of a call; a process that is gone is started again, once."""
        for _ in range(2):
            if self._process is None:
                self._start()
            assert self._process is not None
            assert self._process.stdin is not None
            outcome = None
            with suppress(OSError):
                self._process.stdin.write(request.encode() + b"\n")
                self._process.stdin.flush()
                outcome = self._reply(self._seconds + _ANSWER, watch=True)
            if outcome is not None:
                return outcome
            self._end()
        return Outcome("error", text="its process ended")

    def _reply(self, seconds: float, watch: bool) -> Outcome | None:
        """The next line of the process, None if it is gone.

        Whoever takes too long or too much is ended.
        """
        process = self._process
        assert process is not None
        assert process.stdout is not None
        descriptor, deadline = process.stdout.fileno(), time.monotonic() + seconds
        content, large = b"", False
        while not content.endswith(b"\n"):
            if select.select([descriptor], [], [], _LOOK)[0]:
                block = os.read(descriptor, 1 << 16)
                if not block:
                    return None
                content += block
            elif time.monotonic() > deadline:
                self._end()
                return Outcome("time", text=f"it took longer than {seconds:g} s")
            elif watch:
                large = self._kill_large() or large
        if large:
            return Outcome("memory", text="it took too much memory")
        value: dict[str, Any] = json.loads(content)
        return Outcome(value["kind"], value.get("value"), value.get("text", ""))

    def _kill_large(self) -> bool:
        """End a call that takes too much memory; whether there was one.

        Only Linux enforces the limit on address space.
        """
        assert self._process is not None
        try:
            process = psutil.Process(self._process.pid)
            own = process.memory_info().rss
            for child in process.children():
                if child.memory_info().rss > own + self._memory:
                    child.kill()
                    return True
        except psutil.Error:
            pass  # it has just ended
        return False

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with suppress(OSError):
                        pipe.close()
