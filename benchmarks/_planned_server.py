"""A server that answers as its requests say, and keeps the time of everything it sends.

    python benchmarks/_planned_server.py        # prints its port; ends with its standard input

The prompt of a request is the JSON of a `Plan`, or the name of one that `teach` has sent before:
then reading it takes the server no time. `GET /times` gives what happened, by the plan's
name: `time.perf_counter` is one clock for all processes of a machine.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import threading
import time
import urllib.request
from collections.abc import Iterable
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["Plan", "chunk", "event", "running", "teach", "times_of", "usage"]


@dataclass
class Plan:
    """What one request gets.

    Attributes:
        name: Under which its times are kept.
        status: Of the response.
        kind: Its content type.
        framing: "chunked", "close" (HTTP/1.0) or "length".
        sends: Seconds to wait, and bytes to send then.
        marks: Which of the sends complete a chunk that carries something.
        end: "whole", "abort" (the connection breaks), or "stall" (nothing more comes).
    """

    name: str
    status: int = 200
    kind: str = "text/event-stream"
    framing: str = "chunked"
    sends: list[tuple[float, bytes]] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    end: str = "whole"

    def send(self, wait: float, data: bytes, mark: bool = False) -> Plan:
        """Add one write to the socket."""
        if mark:
            self.marks.append(len(self.sends))
        self.sends.append((wait, data))
        return self

    def prompt(self) -> str:
        """What makes the server do it."""
        values = asdict(self) | {
            "sends": [(wait, base64.b64encode(data).decode()) for wait, data in self.sends]
        }
        return json.dumps(values)


def event(value: Any) -> bytes:
    """One event of the stream, in UTF-8."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"data: {text}\n\n".encode()


def chunk(finish: str | None = None, **delta: Any) -> bytes:
    """One chunk of a chat completion."""
    return event({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


def usage(prompt: int, completion: int) -> bytes:
    """The chunk that says how many tokens there were."""
    counts = {"prompt_tokens": prompt, "completion_tokens": completion}
    return event({"choices": [], "usage": counts})


class _Server(asyncio.Protocol):
    # One for all connections.
    times: dict[str, Any] = {}  # noqa: RUF012
    plans: dict[str, Any] = {}  # noqa: RUF012

    def connection_made(self, transport: Any) -> None:
        self._transport, self._data = transport, b""
        self._task: asyncio.Task[None] | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, end, body = self._data.partition(b"\r\n\r\n")
        length = 0
        for line in head.decode("latin-1").split("\r\n")[1:]:
            name, _, value = line.partition(":")
            if name.lower() == "content-length":
                length = int(value)
        if not end or len(body) < length:
            return
        # What is asked is read when all that came at the same moment has been noted.
        asked, self._data = body[:length], body[length:]
        asyncio.get_running_loop().call_soon(self._take, head, asked, time.perf_counter())

    def _take(self, head: bytes, body: bytes, received: float) -> None:
        path = head.split()[1].decode()
        if path == "/times":
            self._answer(json.dumps(self.times).encode())
        elif path == "/plans":
            self.plans.update((plan["name"], _decoded(plan)) for plan in json.loads(body))
            self._answer(b"{}")
        elif path == "/v1/models":
            self._answer(json.dumps({"data": [{"id": "planned"}]}).encode())
        else:
            asked = json.loads(body)
            text = asked.get("prompt") or asked["messages"][-1]["content"]
            plan = self.plans.get(text) or _decoded(json.loads(text))
            self._task = asyncio.ensure_future(self._follow(plan, received))

    def _answer(self, body: bytes) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        self._transport.write(f"{head}\r\n\r\n".encode() + body)

    async def _follow(self, plan: dict[str, Any], received: float) -> None:
        sends = plan["sends"]
        sent: list[float] = []
        self.times[plan["name"]] = {"received": received, "sent": sent, "marks": plan["marks"]}
        framing = plan["framing"]
        headers = {
            "chunked": "Transfer-Encoding: chunked",
            "close": "Connection: close",
            "length": f"Content-Length: {sum(len(data) for _, data in sends)}",
        }[framing]
        version = "1.0" if framing == "close" else "1.1"
        head = f"HTTP/{version} {plan['status']} Planned\r\nContent-Type: {plan['kind']}\r\n"
        self._transport.write(f"{head}{headers}\r\n\r\n".encode())
        due = received
        for wait, data in sends:
            due += wait
            left = due - time.perf_counter()
            if left > 0:
                await asyncio.sleep(left)
            if framing == "chunked":
                data = f"{len(data):x}\r\n".encode() + data + b"\r\n"
            # Before the write: afterwards the client may have had it for long.
            sent.append(time.perf_counter())
            self._transport.write(data)
        if plan["end"] == "stall":
            return
        if plan["end"] == "abort":
            self._transport.abort()
        elif framing == "chunked":
            self._transport.write(b"0\r\n\r\n")
        elif framing == "close":
            self._transport.close()


def _decoded(plan: dict[str, Any]) -> dict[str, Any]:
    return plan | {"sends": [(wait, base64.b64decode(data)) for wait, data in plan["sends"]]}


def teach(port: int, plans: Iterable[Plan]) -> None:
    """Send plans, which requests then name."""
    body = f"[{', '.join(plan.prompt() for plan in plans)}]".encode()
    urllib.request.urlopen(f"http://127.0.0.1:{port}/plans", body).close()


def times_of(port: int) -> dict[str, Any]:
    """What the server has sent, and when."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/times") as answer:
        found: dict[str, Any] = json.load(answer)
    return found


@contextmanager
def running() -> Any:
    """A server in a process of its own; yields its port."""
    import subprocess

    command = [sys.executable, "-I", "-S", __file__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.communicate()


async def _main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Server, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    ended = asyncio.Event()
    # It ends with whoever started it.
    threading.Thread(
        target=lambda: (sys.stdin.read(), loop.call_soon_threadsafe(ended.set)), daemon=True
    ).start()
    await ended.wait()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(_main())
