"""Utilisation and power of a Mac's GPU, from programs that need no sudo.

`ADAPTERS` is the table of these programs. The adapters follow the programs' documentation and
recorded output; they have not been run on a Mac yet. A program that fails is left out silently: a
run does not depend on it.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

__all__ = ["ADAPTERS", "Accelerator", "Adapter", "parse_ioreg", "parse_macmon"]

# Seconds between two rounds, each of which starts a process or two, and for one program at most.
INTERVAL, TIMEOUT = 5.0, 5.0


@dataclass(frozen=True)
class Adapter:
    """A program that reports on the GPU.

    Attributes:
        command: Its command line; the first word is looked up in PATH.
        parse: Turns its output into fields of `Sample`; only those that it has.
    """

    command: tuple[str, ...]
    parse: Callable[[str], dict[str, float]]


def parse_ioreg(text: str) -> dict[str, float]:
    """Utilisation from the PerformanceStatistics of `ioreg`; the busiest of several GPUs."""
    shares = re.findall(r'"Device Utilization %"\s*=\s*(\d{1,3})\b', text)
    return {"gpu_percent": float(max(map(int, shares)))} if shares else {}


def parse_macmon(text: str) -> dict[str, float]:
    """Utilisation and power from one line of `macmon pipe`."""
    try:
        report = json.loads(text.strip().splitlines()[-1])
        values = {"gpu_power": float(report["gpu_power"])}
        if "gpu_usage" in report:
            # Frequency in MHz, and the share of the time.
            values["gpu_percent"] = 100.0 * float(report["gpu_usage"][1])
    except (IndexError, KeyError, TypeError, ValueError, RecursionError):
        return {}
    return {name: value for name, value in values.items() if 0 <= value < 1e6}


# If two report the same field, the later one counts.
ADAPTERS: Mapping[str, Adapter] = {
    "macmon": Adapter(("macmon", "pipe", "-s", "1"), parse_macmon),
    "ioreg": Adapter(("ioreg", "-r", "-d", "1", "-w", "0", "-c", "IOAccelerator"), parse_ioreg),
}


class Accelerator:
    """Runs the adapters in a thread of its own, between ``with`` and its end.

    Args:
        adapters: The adapters; None for those of `ADAPTERS` that are installed on a Mac, and
            for none elsewhere.
    """

    def __init__(self, adapters: Mapping[str, Adapter] | None = None) -> None:
        if adapters is None:
            here = ADAPTERS if sys.platform == "darwin" else {}
            adapters = {n: a for n, a in here.items() if shutil.which(a.command[0])}
        self._adapters = adapters
        self._latest: dict[str, float] = {}
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._ask, name="accelerator", daemon=True)

    def __enter__(self) -> Accelerator:
        if self._adapters:
            self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        # Do not wait: a program may take until its timeout.
        self._end.set()

    def latest(self) -> dict[str, float]:
        """Fields of `Sample` from the last round."""
        return self._latest

    def _ask(self) -> None:
        while not self._end.is_set():
            values: dict[str, float] = {}
            for adapter in self._adapters.values():
                values |= adapter.parse(_output(adapter.command))
            self._latest = values
            self._end.wait(INTERVAL)


def _output(command: tuple[str, ...]) -> str:
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
