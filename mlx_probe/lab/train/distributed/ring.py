"""The connections of MLX's ring: where they go, and how to end a wait on them."""

from __future__ import annotations

import json
import os
import socket
from contextlib import suppress
from pathlib import Path

__all__ = ["cut_ring", "ring_addresses"]

# The file of `mlx.launch`: for each rank a list of "address:port".
HOSTFILE = "MLX_HOSTFILE"


def ring_addresses() -> list[list[tuple[str, int]]]:
    """Addresses and ports that each rank of the ring listens on; empty without a ring."""
    path = os.environ.get(HOSTFILE)
    if not path:
        return []
    try:
        nodes = json.loads(Path(path).read_text("utf-8"))
        return [[_split(address) for address in node] for node in nodes]
    except (OSError, ValueError, TypeError):
        return []


def cut_ring() -> None:
    """Shut MLX's connections, so that a sum that waits for a lost process fails.

    The peer may be frozen or its machine gone: then nothing else ends the wait. MLX has no call
    for it; its sockets are those whose port is one of the ring's.
    """
    ports = {port for node in ring_addresses() for _, port in node}
    for path in list(Path("/dev/fd").iterdir()):
        with suppress(OSError):
            # A copy, so that the descriptor stays MLX's.
            copy = socket.socket(fileno=os.dup(int(path.name)))
            try:
                own, peer = copy.getsockname(), copy.getpeername()
                if isinstance(own, tuple) and {own[1], peer[1]} & ports:
                    copy.shutdown(socket.SHUT_RDWR)
            finally:
                copy.close()


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)
