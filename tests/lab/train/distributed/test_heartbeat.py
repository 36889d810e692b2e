"""Signs of life between neighbours: losses are named, goodbyes are none."""

import socket
import threading
import time

import pytest

from mlx_probe.lab.train.distributed.heartbeat import Heartbeat, listen


class Ring:
    """Some processes in this one, each with the losses and stops that it was told of."""

    def __init__(self, size, silence=5.0):
        self.lost = [[] for _ in range(size)]
        self.stops = [[] for _ in range(size)]
        self.beats = [None] * size
        listeners = [listen("127.0.0.1") for _ in range(size)]
        ports = [listener.getsockname()[1] for listener in listeners]

        def start(rank):
            self.beats[rank] = Heartbeat(
                rank,
                size,
                listeners[rank],
                ("127.0.0.1", ports[(rank + 1) % size]),
                "secret",
                self.lost[rank].append,
                self.stops[rank].append,
                silence,
            )

        threads = [threading.Thread(target=start, args=(rank,)) for rank in range(size)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def kill(self, rank):
        """The end of a process: its connections end, and it says nothing."""
        beat = self.beats[rank]
        beat._closing.set()
        beat._thread.join()
        for peer in beat._peers:
            peer.close()

    def close(self, *ranks):
        for rank in ranks:
            self.beats[rank].close()


def until(holds, seconds=5):
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:
        time.sleep(0.01)
    assert holds()


@pytest.mark.parametrize("size", [2, 4])
def test_all_are_told_who_is_lost(size):
    ring = Ring(size)
    ring.kill(1)
    others = [rank for rank in range(size) if rank != 1]
    until(lambda: all(ring.lost[rank] == [1] for rank in others))
    assert ring.beats[0].lost == 1
    ring.close(*others)
    # The ends that follow are no news.
    assert all(ring.lost[rank] == [1] for rank in others)


@pytest.mark.parametrize("size", [2, 3])
def test_goodbyes_are_no_losses(size):
    ring = Ring(size)
    ring.close(*range(size))
    assert ring.lost == [[]] * size


def test_a_silent_process_is_lost():
    ring = Ring(2, silence=0.3)
    # Its connections stay open, as those of a frozen process.
    beat = ring.beats[1]
    beat._closing.set()
    beat._thread.join()
    until(lambda: ring.lost[0] == [1])
    ring.close(0)
    for peer in beat._peers:
        peer.close()


def test_a_signal_to_one_stops_all():
    ring = Ring(3)
    ring.beats[2].stop_all(15)
    until(lambda: ring.stops[0] == [15] and ring.stops[1] == [15])
    ring.close(0, 1, 2)
    assert ring.lost == [[]] * 3


def test_strangers_are_not_listened_to():
    listener = listen("127.0.0.1")
    address = listener.getsockname()
    with socket.create_connection(address) as stranger:
        stranger.sendall(b'{"key": "guess"}\n')
        with socket.create_connection(address) as other:
            other.sendall(b"no json at all\n")
            # The only process of a ring of one is its own neighbour.
            beat = Heartbeat(0, 1, listener, address, "secret", lambda r: None, lambda s: None, 5.0)
    beat.close()


def test_a_process_that_never_comes():
    listener = listen("127.0.0.1")
    other = listen("127.0.0.1")
    with pytest.raises(TimeoutError):
        Heartbeat(
            0, 2, listener, other.getsockname(), "k", lambda r: None, lambda s: None, silence=0.2
        )
    other.close()
