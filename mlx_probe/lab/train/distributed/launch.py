"""Several processes of a training on this machine; `mlx.launch` starts them on several machines."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import FrameType

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.train.distributed.ring import HOSTFILE
from mlx_probe.lab.train.distributed.world import is_launched

__all__ = ["end_with_the_launcher", "launch"]

# Seconds that the others have to end after process 0.
GRACE = 10.0
# Threads of each BLAS: together the processes get no more than the cores there are.
_THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")


# Set in the processes that `launch` starts: their standard input ends with it.
_LAUNCHED = "MLX_PROBE_LAUNCHED"


def launch(processes: int, command: Sequence[str]) -> int:
    """Run a command in several processes that find each other by MLX's ring.

    Process 0 has this process's standard output; all have its standard error. Ctrl-C in a
    terminal reaches all of them, and SIGTERM is passed on to process 0, which ends the others. If
    this process is killed, they end as by SIGTERM, with a checkpoint: see `end_with_the_launcher`.

    Args:
        processes: How many, 2 or more.
        command: Program and arguments.

    Returns:
        The exit code of process 0.

    Raises:
        ConfigError: This process is one of several already.
    """
    if is_launched():
        raise ConfigError(
            "--processes starts processes, and a launcher has started this one already",
            "Leave --processes out below mlx.launch",
        )
    threads = str(max((os.cpu_count() or 1) // processes, 1))
    with tempfile.TemporaryDirectory(prefix="mlx-probe-ring-") as folder:
        hostfile = Path(folder, "hosts.json")
        hostfile.write_text(json.dumps([[f"127.0.0.1:{port}"] for port in _ports(processes)]))
        common = {
            **dict.fromkeys(_THREADS, threads),
            **os.environ,
            HOSTFILE: str(hostfile),
            _LAUNCHED: "1",
        }
        started = [
            subprocess.Popen(
                command,
                env={**common, "MLX_RANK": str(rank)},
                stdin=subprocess.PIPE,
                stdout=None if rank == 0 else subprocess.DEVNULL,
            )
            for rank in range(processes)
        ]
        return _wait(started)


def end_with_the_launcher() -> None:
    """End as by SIGTERM when the process that started this one with `launch` is gone.

    Nothing else tells of a launcher that was killed: its processes would train on, and nobody
    would know of them. Does nothing in a process that `launch` did not start.
    """
    # Removed, because processes that this one starts have a standard input of their own.
    if os.environ.pop(_LAUNCHED, None):
        threading.Thread(target=_end_with_standard_input, daemon=True).start()


def _end_with_standard_input() -> None:
    # Not by Linux's PR_SET_PDEATHSIG, which other systems do not have.
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _wait(started: Sequence[subprocess.Popen[bytes]]) -> int:
    first, *others = started

    def pass_on(number: int, frame: FrameType | None) -> None:
        first.send_signal(number)

    before = signal.signal(signal.SIGTERM, pass_on)
    # The terminal sends Ctrl-C to every process; they end by themselves.
    ignored = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        code = first.wait()
        for other in others:
            with suppress(subprocess.TimeoutExpired):
                other.wait(GRACE)
    finally:
        for other in started:
            if other.poll() is None:
                other.kill()
                other.wait()
            if other.stdin is not None:
                other.stdin.close()
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGINT, ignored)
    # The shell's convention for a signal.
    return code if code >= 0 else 128 - code


def _ports(count: int) -> list[int]:
    """Ports of this machine that nobody uses."""
    with ExitStack() as opened:
        sockets = [opened.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
