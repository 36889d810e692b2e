"""The process in which registered functions run: started by path, without the package.

It imports the table once, and forks for every call: what a call leaves behind ends with it, and
an endless loop costs a process, not the table. Nothing that arrives is evaluated: a request is a
name that must be a key of the table, and arguments that are JSON.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NoReturn

__all__ = ["main"]

# Bytes of a reply around its result.
_AROUND = 32


def main(reference: str, paths: list[str], seconds: float, memory: int, output: int) -> None:
    """Answer requests until the input ends; one line of JSON each way.

    Args:
        reference: ``module:TABLE`` or ``file.py:TABLE``.
        paths: Where modules are looked for.
        seconds: Time of a call.
        memory: Bytes that a call may take beside what is there already.
        output: Bytes of a result as JSON.
    """
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    # What a function reads or prints is nobody's.
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    try:
        table = load_table(reference, paths)
    except Exception as error:
        _send(replies, {"kind": "error", "text": f"{type(error).__name__}: {error}"})
        return
    _send(replies, {"kind": "ok", "value": sorted(table)})
    for line in requests:
        name, arguments = json.loads(line)
        if name not in table:
            _send(replies, {"kind": "unknown", "text": f"{name} is not registered"})
            continue
        _send(replies, _call(table[name], arguments, seconds, memory, output + _AROUND))


def load_table(reference: str, paths: list[str]) -> Mapping[str, Callable[..., Any]]:
    """The table of functions that a reference names."""
    place, _, attribute = reference.rpartition(":")
    if place.endswith(".py"):
        spec = importlib.util.spec_from_file_location("registered_functions", place)
        if spec is None or spec.loader is None:
            raise ImportError(f"cannot load {place}")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    else:
        sys.path[:] = paths
        module = importlib.import_module(place)
    table = getattr(module, attribute)
    if not isinstance(table, Mapping) or not all(map(callable, table.values())):
        raise TypeError(f"{reference} is no mapping of names to functions")
    return dict(table)


def _send(replies: Any, reply: Mapping[str, Any]) -> None:
    replies.write(json.dumps(reply).encode() + b"\n")
    replies.flush()


def _call(
    function: Callable[..., Any],
    arguments: Mapping[str, Any],
    seconds: float,
    memory: int,
    output: int,
) -> dict[str, Any]:
    """Run a function in a process of its own, and wait for it no longer than it may take."""
    deadline = time.monotonic() + seconds
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _run(function, arguments, writer, seconds, memory, output)
    os.close(writer)
    parts, size, late = [], 0, False
    while size <= output + 1:
        left = deadline - time.monotonic()
        ready = left > 0 and select.select([reader], [], [], left)[0]
        if not ready:
            late = True
            break
        block = os.read(reader, 1 << 16)
        if not block:
            break
        parts.append(block)
        size += len(block)
    os.close(reader)
    for kill in (os.killpg, os.kill):  # the group is there once the child has made it
        with suppress(OSError):
            kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    if late:
        return {"kind": "time", "text": f"it took longer than {seconds:g} s"}
    if size > output + 1:
        return {"kind": "output", "text": f"its result is longer than {output - _AROUND} bytes"}
    content = b"".join(parts)
    if not content.endswith(b"\n"):
        return {"kind": "error", "text": "its process ended"}
    reply: dict[str, Any] = json.loads(content)
    return reply


def _run(
    function: Callable[..., Any],
    arguments: Mapping[str, Any],
    writer: int,
    seconds: float,
    memory: int,
    output: int,
) -> NoReturn:
    """The child: limits, the call, and its result, cut off where it is too long."""
    try:
        os.setsid()
        _limit(seconds, memory)
        try:
            reply = {"kind": "ok", "value": function(**arguments)}
            text = _encoded(reply, output)
        except MemoryError:
            text = json.dumps({"kind": "memory", "text": "it took too much memory"})
        except BaseException as error:  # also SystemExit
            said = f"{type(error).__name__}: {error}"[:200]
            text = json.dumps({"kind": "error", "text": said})
        data = text.encode() + b"\n"
        while data:
            data = data[os.write(writer, data) :]
    finally:
        os._exit(0)


def _encoded(reply: Mapping[str, Any], most: int) -> str:
    """JSON, made no further than what is too long."""
    parts, size = [], 0
    for part in json.JSONEncoder().iterencode(reply):
        parts.append(part)
        size += len(part)
        if size > most:
            break
    return "".join(parts)[: most + 2] if size > most else "".join(parts)


def _limit(seconds: float, memory: int) -> None:
    limits = {
        "RLIMIT_CPU": int(seconds) + 2,
        "RLIMIT_FSIZE": 0,  # no file can be written
        "RLIMIT_CORE": 0,
        "RLIMIT_NPROC": 0,
    }
    with suppress(OSError), open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
        # Address space, as far as Linux counts it; elsewhere the sandbox watches what is used.
        used = int(file.read().split()[0]) * resource.getpagesize()
        limits["RLIMIT_AS"] = used + memory
    for name, value in limits.items():
        with suppress(ValueError, OSError, AttributeError):
            resource.setrlimit(getattr(resource, name), (value, value))


if __name__ == "__main__":
    main(*json.loads(sys.argv[1]))
