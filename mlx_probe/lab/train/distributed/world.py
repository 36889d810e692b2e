"""The processes that train together, and what they do as one: sums, and checks that all agree."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx.utils import tree_flatten, tree_unflatten

from mlx_probe.core.errors import ConfigError, Stopped
from mlx_probe.lab.train.distributed.heartbeat import Heartbeat, listen
from mlx_probe.lab.train.distributed.ring import cut_ring, ring_addresses

__all__ = ["PeerLost", "World", "digest", "is_launched", "join_world"]

# What launchers of MLX set: `mlx.launch`, and Open MPI.
_LAUNCHERS = ("MLX_RANK", "OMPI_COMM_WORLD_RANK")
# Bytes of what each process says of itself at the start.
_CARD = 512
# Seconds in which a failed sum is explained by the heartbeat.
_VERDICT = 5.0


class PeerLost(Stopped):
    """Another process is gone. What was finished is saved; the same command goes on."""


def is_launched() -> bool:
    """Whether a launcher has started this process as one of several."""
    return any(name in os.environ for name in _LAUNCHERS)


class World:
    """The processes.

    Attributes:
        rank: Number of this process, from 0.
        size: Processes.
        hosts: Name of the machine of each.
    """

    def __init__(self, group: Any) -> None:
        self._group = group
        self.rank, self.size = int(group.rank()), int(group.size())
        self.hosts: tuple[str, ...] = tuple("" for _ in range(self.size))
        self._heartbeat: Heartbeat | None = None

    def begin(self, on_stop: Callable[[int], None]) -> None:
        """Exchange names, and start the heartbeat.

        Args:
            on_stop: Called in another thread with the signal that another process got.

        Raises:
            PeerLost: A process is gone already.
        """
        nodes = ring_addresses()
        own = nodes[self.rank][0][0] if self.rank < len(nodes) else "127.0.0.1"
        listener = listen(own)
        port = listener.getsockname()[1]
        key = secrets.token_hex(16)
        cards = self.gather({"host": socket.gethostname()[:200], "at": [own, port], "key": key})
        self.hosts = tuple(card["host"] for card in cards)
        host, port = cards[(self.rank + 1) % self.size]["at"]
        try:
            self._heartbeat = Heartbeat(
                self.rank,
                self.size,
                listener,
                (host, port),
                cards[0]["key"],
                on_lost=lambda rank: cut_ring(),
                on_stop=on_stop,
            )
        except OSError as error:
            raise PeerLost(
                f"no connection between process {self.rank} and its neighbours: {error}",
                "Allow connections between the machines, and run the same command again",
            ) from error

    def average(self, gradients: Any, loss: mx.array) -> tuple[Any, mx.array]:
        """The means over all processes, evaluated: the weights are untouched if it fails.

        Raises:
            PeerLost: A process is gone.
        """
        named = tree_flatten(gradients)
        # The loss travels with the gradients.
        try:
            *mean, (_, total) = tree_flatten(
                nn.average_gradients(
                    tree_unflatten([*((name, g) for name, g in named), ("~loss", loss)]),
                    self._group,
                )
            )
            tree = tree_unflatten(mean)
            mx.eval(tree, total)
        except RuntimeError as error:
            raise self._explained(error) from error
        return tree, total

    def share(self, value: Any) -> Any:
        """A value of process 0, on all.

        Args:
            value: For JSON; of process 0, any on others.

        Raises:
            PeerLost: A process is gone.
        """
        text = json.dumps(value).encode() if self.rank == 0 else b""
        size = int(np.array(self._sum(mx.array([len(text)], mx.int32)))[0])
        data = np.zeros(size, np.int32)
        data[: len(text)] = np.frombuffer(text, np.uint8)
        return json.loads(bytes(np.array(self._sum(mx.array(data)), np.uint8)))

    def share_arrays(self, arrays: Mapping[str, mx.array]) -> dict[str, mx.array]:
        """Arrays of process 0, on all.

        Args:
            arrays: By name; the same names, shapes and types on all.

        Raises:
            PeerLost: A process is gone.
        """
        shared = {}
        # All processes in one order: a tree that was read from a file may have another.
        for name in sorted(arrays):
            array = arrays[name]
            # The sum of one and zeros: unchanged, but for the sign of zeros.
            shared[name] = self._sum(array if self.rank == 0 else mx.zeros_like(array))
        return {name: shared[name] for name in arrays}

    def gather(self, card: Mapping[str, Any]) -> list[dict[str, Any]]:
        """What each process says, by rank.

        Args:
            card: Of this process; its JSON has less than 512 bytes.

        Raises:
            PeerLost: A process is gone.
        """
        text = json.dumps(card).encode()
        assert len(text) <= _CARD, text
        table = np.zeros((self.size, _CARD), np.int32)
        table[self.rank, : len(text)] = np.frombuffer(text, np.uint8)
        rows = np.array(self._sum(mx.array(table)), np.uint8)
        return [json.loads(row.tobytes().rstrip(b"\0")) for row in rows]

    def check_same(self, facts: Mapping[str, str], problem: str = "") -> None:
        """Refuse to train together with processes that cannot, or would train something else.

        Args:
            facts: What has to be the same, by its name for people.
            problem: What is wrong in this process; "" for nothing.

        Raises:
            ConfigError: A process has a problem or differs; the same on all processes.
            PeerLost: A process is gone.
        """
        card = {name: _short(value) for name, value in facts.items()}
        cards = self.gather({"problem": problem[:200], "facts": card})
        for rank, said in enumerate(cards):
            if said["problem"]:
                raise ConfigError(
                    f"process {rank} on {self.hosts[rank]}: {said['problem']}",
                    "Give every machine the same command and files",
                )
        for name in facts:
            values = [said["facts"].get(name) for said in cards]
            for rank, value in enumerate(values):
                if value != values[0]:
                    raise ConfigError(
                        f"process {rank} on {self.hosts[rank]} has another {name} than process 0 "
                        f"on {self.hosts[0]}: {value}, not {values[0]}",
                        "Start all processes with the same command, files and versions",
                    )

    def stop_all(self, number: int) -> None:
        """Ask all processes to stop as if each had got a signal."""
        if self._heartbeat is not None:
            self._heartbeat.stop_all(number)

    def loss(self) -> PeerLost | None:
        """The error that names the process that is lost; None if none is known to be."""
        rank = None if self._heartbeat is None else self._heartbeat.lost
        if rank is None:
            return None
        return PeerLost(
            f"process {rank} on {self.hosts[rank]} is lost: it was killed, or its machine or "
            "network failed",
            "Run the same command again to go on from the last checkpoint",
        )

    def close(self) -> None:
        """Leave: what happens to the others from now on is no loss."""
        if self._heartbeat is not None:
            self._heartbeat.close()

    def _sum(self, array: mx.array) -> mx.array:
        try:
            total = mx.distributed.all_sum(array, group=self._group)
            mx.eval(total)
        except RuntimeError as error:
            raise self._explained(error) from error
        return total

    def _explained(self, error: RuntimeError) -> PeerLost:
        """The error of a failed sum, with the name of the process that is lost."""
        until = time.monotonic() + _VERDICT
        while self._heartbeat is not None and time.monotonic() < until:
            if (loss := self.loss()) is not None:
                return loss
            time.sleep(0.02)
        return PeerLost(
            f"the connection between the processes is lost: {error}",
            "Run the same command again to go on from the last checkpoint",
        )


def join_world() -> World | None:
    """Join the processes that a launcher has started; None for a process on its own.

    Raises:
        ConfigError: The others cannot be reached.
    """
    if not is_launched():
        return None
    try:
        # Not strict for a launch of one process, which has no ring.
        group = mx.distributed.init(strict=len(ring_addresses()) > 1)
    except (RuntimeError, ValueError) as error:
        raise ConfigError(
            f"the processes cannot be joined: {error}",
            "Start all of them with `mlx.launch -n 2 --backend ring -- mlx-probe train ...`, on "
            "ports that are free",
        ) from error
    return World(group) if group.size() > 1 else None


def digest(arrays: Mapping[str, mx.array]) -> str:
    """SHA-256 of arrays, names included."""
    hashed = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        hashed.update(f"{name} {array.shape} {array.dtype}\n".encode())
        if array.dtype == mx.bfloat16:
            array = array.view(mx.uint16)
        hashed.update(np.ascontiguousarray(np.array(array)).data)
    return hashed.hexdigest()


def _short(value: str) -> str:
    """A value for a card: long ones by the beginning of their hash."""
    return value if len(value) <= 40 else hashlib.sha256(value.encode()).hexdigest()[:16]
