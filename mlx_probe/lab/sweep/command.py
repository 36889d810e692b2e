"""One trial as a process: the command with its settings, its messages in a file."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from mlx_probe.core.language import LANGUAGES, VARIABLE
from mlx_probe.library.reproduce.scripts import MAIN

__all__ = ["last_message", "run_command"]

_GUARD = Path(__file__).with_name("guard.py")
# Seconds between two looks at whether the sweep is to end.
_PAUSE = 0.1
# Bytes of messages that are read for a reason, and characters of it.
_TAIL, _LONGEST = 8192, 400
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def run_command(
    words: Sequence[str], log: str, folder: str, stop: threading.Event | None = None
) -> tuple[int, float]:
    """Run `mlx-probe` with some words; it ends when this process ends.

    Args:
        words: What stands behind `mlx-probe`.
        log: File for its messages, which is appended to.
        folder: Its working folder.
        stop: Ends it when it is set, with time to save what it has.

    Returns:
        Its exit code, and the seconds that it took.

    Raises:
        OSError: It cannot be started.
    """
    began = time.monotonic()
    command = [sys.executable, "-I", str(_GUARD), sys.executable, "-c", MAIN, *words]
    with (
        Path(log).open("ab") as messages,
        subprocess.Popen(
            command,
            cwd=folder,
            # What it says becomes data, which is English, and is translated where it is shown.
            env={**os.environ, VARIABLE: LANGUAGES[0]},
            stdin=subprocess.PIPE,
            stdout=messages,
            stderr=subprocess.STDOUT,
            # Ctrl-C comes through the guard, once: a second one would keep it from saving.
            start_new_session=True,
        ) as process,
    ):
        while True:
            try:
                return process.wait(_PAUSE), time.monotonic() - began
            except subprocess.TimeoutExpired:
                if stop is not None and stop.is_set() and process.stdin is not None:
                    process.stdin.close()
                    return process.wait(), time.monotonic() - began


def last_message(log: Path) -> str:
    """The last message of a command that failed; "" where it said nothing.

    Args:
        log: The file of its messages.
    """
    try:
        with log.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _TAIL))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    lines = [line.strip() for line in _ESCAPES.sub("", text).splitlines() if line.strip()]
    # The message begins with "Error: "; its remedy follows.
    begins = [at for at, line in enumerate(lines) if line.startswith("Error: ")]
    said = lines[begins[-1] :] if begins else lines[-1:]
    return "; ".join(said).removeprefix("Error: ")[:_LONGEST]
