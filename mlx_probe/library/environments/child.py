"""Programs that make and try environments: nothing of this process's Python leaks into them."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Answer", "ask", "clean_environ", "run_logged"]

# Variables that bring packages of elsewhere into an environment, or put what is installed
# elsewhere. Indexes, proxies and certificates of pip and uv stay: they are the user's.
LEAKS = (
    *("PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "PYTHONSTARTUP", "PYTHONSAFEPATH"),
    *("PYTHONPLATLIBDIR", "PYTHONEXECUTABLE", "__PYVENV_LAUNCHER__", "VIRTUAL_ENV"),
    *("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER", "PIP_PYTHON", "PIP_REPORT"),
    *("PIP_REQUIRE_VIRTUALENV", "PIP_REQUIREMENT", "PIP_EDITABLE", "PIP_DRY_RUN"),
    *("UV_SYSTEM_PYTHON", "UV_PYTHON", "UV_PROJECT_ENVIRONMENT", "UV_TARGET", "UV_PREFIX"),
    *("CONDA_PREFIX", "CONDA_DEFAULT_ENV", "CONDA_ENVS_PATH"),
)


@dataclass(frozen=True)
class Answer:
    """What a program said.

    Attributes:
        output: Standard output.
        problem: Why there is no useful output; "" if there is.
    """

    output: str
    problem: str = ""


def clean_environ(**changes: str) -> dict[str, str]:
    """This process's environment without what leaks, and with changes."""
    kept = {name: value for name, value in os.environ.items() if name not in LEAKS}
    return kept | changes


def ask(
    command: Sequence[str], timeout: float, cwd: Path, environ: Mapping[str, str] | None = None
) -> Answer:
    """Run a program that answers on standard output; one that hangs is killed.

    Args:
        command: Program and arguments.
        timeout: Seconds that it has.
        cwd: A folder without modules that Python could take for others.
        environ: Instead of `clean_environ`.
    """
    try:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            cwd=cwd,
            env=dict(clean_environ() if environ is None else environ),
            start_new_session=True,
        )
    except OSError as error:
        return Answer("", f"{command[0]} does not start: {os.strerror(error.errno or 0)}")
    try:
        output, errors = child.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        return Answer("", f"no answer within {timeout:g} s")
    finally:
        _kill(child)
    if child.returncode:
        lines = [line for line in errors.strip().splitlines() if line.strip()]
        number = child.returncode
        ended = f"killed by {signal.Signals(-number).name}" if number < 0 else f"exit code {number}"
        return Answer(output, lines[-1].strip() if lines else ended)
    return Answer(output)


def run_logged(
    command: Sequence[str], log: Path, cwd: Path, claim: int, on_line: Callable[[str], None]
) -> tuple[int, str]:
    """Run an installer; what it prints goes to a log, line by line.

    Args:
        command: Program and arguments.
        log: Appended to.
        cwd: A folder without modules that Python could take for others.
        claim: A descriptor that the program inherits, and with it a lock.
        on_line: Called with each line.

    Returns:
        Exit code and output.

    Raises:
        OSError: The program does not start, or the log cannot be written.
    """
    lines = []
    with log.open("ab", buffering=0) as file:
        file.write(f"$ {' '.join(command)}\n".encode("utf-8", "replace"))
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            cwd=cwd,
            env=clean_environ(PYTHONUNBUFFERED="1", PYTHONNOUSERSITE="1", NO_COLOR="1"),
            # Ctrl-C reaches this process alone, which ends the installer and what it started.
            start_new_session=True,
            pass_fds=(claim,),
        )
        try:
            for line in child.stdout or ():
                lines.append(line)
                # A full disk must not hide what the installer says of it.
                with suppress(OSError):
                    file.write(line.encode("utf-8", "replace"))
                on_line(line.strip())
            return child.wait(), "".join(lines)
        finally:
            _kill(child)


def _kill(child: subprocess.Popen[str]) -> None:
    """End a program that still runs, and all that it has started."""
    if child.poll() is None:
        with suppress(OSError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    for pipe in (child.stdout, child.stderr):
        if pipe is not None:
            pipe.close()
