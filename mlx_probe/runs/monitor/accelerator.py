"""How busy a Mac's GPU is and what it draws, from programs that need no sudo.

`ADAPTERS` is the list of them. They are written from the programs' documentation and from
recorded output: nobody has run them on a Mac yet. What fails is left out, silently: a run does
not depend on it.
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

# Seconds between two rounds, each of which costs a process or two, and for which a program may take
# its time.
INTERVAL, TIMEOUT = 5.0, 5.0


@dataclass(frozen=True)
class Adapter:
    """A program that tells something of the GPU.

    Attributes:
        command: How it is called; the first word is looked up in PATH.
        parse: Its output to fields of `Sample`; empty for what it does not tell.
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
        told = json.loads(text.strip().splitlines()[-1])
        found = {"gpu_power": float(told["gpu_power"])}
        if "gpu_usage" in told:
            # Frequency in MHz, and the share of the time.
            found["gpu_percent"] = 100.0 * float(told["gpu_usage"][1])
    except (IndexError, KeyError, TypeError, ValueError, RecursionError):
        return {}
    return {name: value for name, value in found.items() if 0 <= value < 1e6}


# A later one's word counts where two tell the same.
ADAPTERS: Mapping[str, Adapter] = {
    "macmon": Adapter(("macmon", "pipe", "-s", "1"), parse_macmon),
    "ioreg": Adapter(("ioreg", "-r", "-d", "1", "-w", "0", "-c", "IOAccelerator"), parse_ioreg),
}


class Accelerator:
    """Asks the adapters in a thread of its own, between ``with`` and its end.

    Args:
        adapters: Those to ask; None for all of `ADAPTERS` that are installed on a Mac, and for
            none elsewhere.
    """

    def __init__(self, adapters: Mapping[str, Adapter] | None = None) -> None:
        if adapters is None:
            here = ADAPTERS if sys.platform == "darwin" else {}
            adapters = {n: a for n, a in here.items() if shutil.which(a.command[0])}
        self._adapters = adapters
        self._found: dict[str, float] = {}
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._ask, name="accelerator", daemon=True)

    def __enter__(self) -> Accelerator:
        if self._adapters:
            self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        # Not waited for: a program may sit out its time.
        self._end.set()

    def latest(self) -> dict[str, float]:
        """Fields of `Sample` as the last round found them."""
        return self._found

    def _ask(self) -> None:
        while not self._end.is_set():
            found: dict[str, float] = {}
            for adapter in self._adapters.values():
                found |= adapter.parse(_output(adapter.command))
            self._found = found
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
