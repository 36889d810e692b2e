"""Other programs, asked for what they say of themselves; nothing of theirs is changed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

__all__ = ["ask"]

# Seconds that a program has to print its version, and torch to print its devices.
TIMEOUT = 4.0


def ask(command: Sequence[str]) -> tuple[str, str]:
    """The output of a command, and what went wrong; "" if nothing did."""
    try:
        child = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        return "", f"no answer within {TIMEOUT:g} s"
    except OSError as error:
        return "", f"does not start: {os.strerror(error.errno or 0)}"
    lines = child.stdout.strip().splitlines()
    if child.returncode:
        return child.stdout, f"fails: {lines[-1] if lines else f'exit code {child.returncode}'}"
    return child.stdout, ""
