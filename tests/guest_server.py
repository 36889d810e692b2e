"""A server for guests in this process, and clients that send it anything."""

import json
import os
import re
import socket
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from made_runs import layers, store

from mlx_probe.library.share.config import ShareConfig
from mlx_probe.library.share.server import GuestServer
from mlx_probe.report.share import make_site

# What is outside, hidden or not for guests says this.
CANARY = "CANARY-7f3a9c51"
NOTES = "# Notes\n\n<script>alert(1)</script> **bold** [x](javascript:alert(1))\n"


def made_run(root):
    """A run folder with a bit of everything, and beside it what nobody may read."""
    run = store(root / "runs" / "tiny", layers(2), form="csv")
    outside = root / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_text(CANARY)
    (run / "notes.md").write_text(NOTES)
    (run / "plots").mkdir()
    (run / "plots" / "inner table.csv").write_text("a,b\n1,2\n")
    (run / "name\u00e9 &<b>.txt").write_text("odd")
    for name in (".env", "model.safetensors", "analyze.log", "settings.yaml", "page.html"):
        (run / name).write_text(CANARY)
    (run / ".git").mkdir()
    (run / ".git" / "notes.txt").write_text(CANARY)
    (run / "link.txt").symlink_to(outside / "secret.txt")
    (run / "linked").symlink_to(outside, target_is_directory=True)
    os.link(outside / "secret.txt", run / "hard.txt")
    os.mkfifo(run / "pipe.txt")
    return run


@dataclass
class Served:
    """A server that runs."""

    server: GuestServer
    audit: object
    folder: object
    shared: list
    failures: list = field(default_factory=list)

    @property
    def port(self):
        return self.server.port

    def records(self, event="request"):
        lines = [json.loads(line) for line in self.audit.read_bytes().splitlines()]
        return [record for record in lines if record["event"] == event]


@contextmanager
def serving(root, *runs, only=None, include=(), **settings):
    """A server of some runs, with secret, guests and audit log below `root`."""
    private = root / "private"
    private.mkdir(exist_ok=True)
    site, shared = make_site(runs, private, include)
    audit, folder = root / "audit.jsonl", root / "data" / "share"
    with ExitStack() as stack:
        stack.callback(site.close)
        config = ShareConfig(**{"rate": 100_000, **settings})
        server = GuestServer(site, config, folder, audit, only)
        stack.callback(server.close)
        served = Served(server, audit, folder, shared)

        def run():
            try:
                server.run()
            except Exception as error:
                served.failures.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        stack.callback(thread.join, 10)
        stack.callback(server.stop)
        yield served


@dataclass
class Reply:
    """What a client got."""

    port: int
    raw: bytes

    @property
    def status(self):
        found = re.match(rb"HTTP/1\.1 (\d{3}) ", self.raw)
        return int(found[1]) if found else 0

    @property
    def head(self):
        return self.raw.partition(b"\r\n\r\n")[0].decode("latin-1")

    @property
    def body(self):
        return self.raw.partition(b"\r\n\r\n")[2]

    @property
    def headers(self):
        lines = (line.partition(": ") for line in self.head.split("\r\n")[1:])
        return {name.lower(): value for name, _, value in lines}


def send(port, *pieces, ends=False, timeout=10.0):
    """Send bytes, and read until the server closes.

    Args:
        port: The server's.
        pieces: Bytes, or a function that is called between two pieces.
        ends: Whether to say that nothing follows.
        timeout: Seconds for each read.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as client:
        own = client.getsockname()[1]
        got = b""
        try:
            for piece in pieces:
                client.sendall(piece) if isinstance(piece, bytes) else piece()
            if ends:
                client.shutdown(socket.SHUT_WR)
            while piece := client.recv(65536):
                got += piece
        except ConnectionError:
            pass
        return Reply(own, got)


def request(target, *headers, method="GET", host="localhost"):
    """A request's bytes; a target of bytes or text goes as it is."""
    raw = target if isinstance(target, bytes) else target.encode("utf-8")
    lines = [f"Host: {host}", *headers] if host is not None else [*headers]
    head = "".join(f"{line}\r\n" for line in lines).encode("latin-1")
    return method.encode() + b" " + raw + b" HTTP/1.1\r\n" + head + b"\r\n"


def get(port, target, *headers, **settings):
    """Ask for a target."""
    return send(port, request(target, *headers, **settings))
