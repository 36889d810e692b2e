"""Signs of life between neighbours of a ring: which process is lost, within seconds.

Each process has a connection to the next one and one from the previous one. A connection that
ends without a goodbye, or is silent for too long, means that the neighbour is lost; the others
hear of it from neighbour to neighbour.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from typing import Any

__all__ = ["Heartbeat", "listen"]

# Seconds between two signs of life, and of silence after which a process counts as lost.
EVERY = 1.0
SILENCE = 20.0
VARIABLE = "MLX_PROBE_PEER_SILENCE"

# Seconds in which a goodbye is read, at most.
_LINGER = 0.5

# A line has some dozen bytes.
_LONGEST = 4096


def listen(host: str) -> socket.socket:
    """A socket that waits for the previous process, at a port that the system chooses."""
    return socket.create_server((host, 0), backlog=8)


class Heartbeat:
    """Sends signs of life, and notices their absence, in a thread.

    Args:
        rank: Number of this process.
        listener: From `listen`.
        following: Address and port of the next process's listener.
        key: A secret that all share: others are not listened to.
        on_lost: Called in the thread, once, with the number of the process that is lost.
        on_stop: Called in the thread with the signal that a process got: all are to stop.
        silence: Seconds after which a silent process is lost.

    Raises:
        OSError: The next process cannot be reached, or the previous one does not come.
    """

    def __init__(
        self,
        rank: int,
        world: int,
        listener: socket.socket,
        following: tuple[str, int],
        key: str,
        on_lost: Callable[[int], None],
        on_stop: Callable[[int], None],
        silence: float | None = None,
    ) -> None:
        self._rank, self._on_lost, self._on_stop = rank, on_lost, on_stop
        self._silence = silence or float(os.environ.get(VARIABLE) or SILENCE)
        self.lost: int | None = None
        self._stopped = False
        self._closing = threading.Event()
        self._lock = threading.Lock()
        with listener, ExitStack() as opened:
            ahead = opened.enter_context(socket.create_connection(following, self._silence))
            ahead.sendall(_line({"key": key}))
            behind = _accept(listener, key, self._silence)
            opened.pop_all()
        # By connection: number of the process at its other end, text not read yet, last sign.
        self._peers = {ahead: (rank + 1) % world, behind: (rank - 1) % world}
        self._unread = {ahead: b"", behind: b""}
        self._heard = dict.fromkeys(self._peers, time.monotonic())
        for peer in self._peers:
            peer.setblocking(False)
        self._thread = threading.Thread(target=self._watch, name="heartbeat", daemon=True)
        self._thread.start()

    def stop_all(self, signal: int) -> None:
        """Ask all processes to stop, as if each had got a signal."""
        self._send({"stop": signal})

    def close(self) -> None:
        """Say goodbye, so that the end of the connections is no loss."""
        self._send({"bye": self._rank})
        self._closing.set()
        self._thread.join()
        until = time.monotonic() + _LINGER
        for connection in self._peers:
            with connection, suppress(OSError):
                connection.shutdown(socket.SHUT_WR)
                # A connection that is closed while the neighbour still writes is reset, and a
                # reset one loses the goodbye on its way.
                while (left := until - time.monotonic()) > 0:
                    connection.settimeout(left)
                    if not connection.recv(_LONGEST):
                        break

    def _watch(self) -> None:
        with selectors.DefaultSelector() as selector:
            for peer in self._peers:
                selector.register(peer, selectors.EVENT_READ)
            due = 0.0
            while not self._closing.is_set():
                now = time.monotonic()
                if now >= due:
                    self._send({})
                    due = now + EVERY
                # Short, so that `close` is quick.
                for found, _ in selector.select(timeout=0.1):
                    near: Any = found.fileobj
                    if not self._read(near):
                        selector.unregister(near)
                        self._drop(near, is_lost=True)
                late = time.monotonic() - self._silence
                for silent in [each for each, heard in self._heard.items() if heard < late]:
                    selector.unregister(silent)
                    self._drop(silent, is_lost=True)

    def _read(self, peer: socket.socket) -> bool:
        """Take what a neighbour says; False at the connection's end."""
        try:
            data = peer.recv(_LONGEST)
        except BlockingIOError:
            return True
        except OSError:
            data = b""
        if not data:
            return False
        self._heard[peer] = time.monotonic()
        *lines, self._unread[peer] = (self._unread[peer] + data).split(b"\n")
        for line in lines:
            with suppress(ValueError):
                self._take(peer, json.loads(line))
        return True

    def _take(self, peer: socket.socket, said: Mapping[str, Any]) -> None:
        if "bye" in said:
            self._drop(peer, is_lost=False)
        elif "lost" in said:
            self._lose(int(said["lost"]))
        elif "stop" in said and not self._stopped:
            self._stopped = True
            self._send(said)
            self._on_stop(int(said["stop"]))

    def _drop(self, peer: socket.socket, is_lost: bool) -> None:
        """Listen to a neighbour no longer."""
        # After a goodbye the end of the connection says nothing.
        if self._heard.pop(peer, None) is not None and is_lost:
            self._lose(self._peers[peer])

    def _lose(self, rank: int) -> None:
        with self._lock:
            if self.lost is not None or self._closing.is_set():
                return
            self.lost = rank
        self._send({"lost": rank})
        self._on_lost(rank)

    def _send(self, said: Mapping[str, Any]) -> None:
        for peer in self._peers:
            # A neighbour that is gone is noticed by reading.
            with suppress(OSError):
                peer.sendall(_line(said))


def _accept(listener: socket.socket, key: str, seconds: float) -> socket.socket:
    """The connection of the previous process; others are closed."""
    listener.settimeout(seconds)
    while True:
        peer, _ = listener.accept()
        peer.settimeout(seconds)
        with suppress(OSError, ValueError, AttributeError):
            said = b""
            while not said.endswith(b"\n") and len(said) < _LONGEST:
                piece = peer.recv(1)
                if not piece:
                    break
                said += piece
            if json.loads(said).get("key") == key:
                return peer
        peer.close()


def _line(said: Mapping[str, Any]) -> bytes:
    return json.dumps(said).encode() + b"\n"
