"""Whether an environment shares packages with another one, the system or the user."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from mlx_probe.library.environments.child import ask
from mlx_probe.library.environments.installed import site_folders
from mlx_probe.library.environments.interpreters import Interpreter
from mlx_probe.library.environments.probes import Outcome

__all__ = ["isolation"]

_CHECK = "isolation"
# Settings of pip that put packages elsewhere.
_ELSEWHERE = ("target", "prefix", "root", "user", "python")
_ANEW = "Make the environment anew with --replace"
# Seconds that pip has to list its settings.
_TIMEOUT = 60.0


def isolation(prefix: Path, interpreter: Interpreter | None, cwd: Path) -> Iterator[Outcome]:
    """What is shared, or one outcome that nothing is.

    Args:
        prefix: The environment's folder.
        interpreter: What its Python says; None if that does not start.
        cwd: A folder without modules.
    """
    shared = [*_configured(prefix), *_linked(prefix), *_in_shell()]
    if interpreter is not None:
        shared += [*_on_path(prefix, interpreter), *_pip_settings(interpreter, cwd)]
    if not shared:
        fact = "it shares no packages: neither the system's, nor the user's, nor another's"
        yield Outcome(_CHECK, "ok", fact)
    yield from shared


def _configured(prefix: Path) -> Iterator[Outcome]:
    """Settings of the environment itself."""
    try:
        text = (prefix / "pyvenv.cfg").read_text("utf-8")
    except (OSError, UnicodeError):
        return  # conda has none
    settings = dict(_setting(line) for line in text.splitlines() if "=" in line)
    if settings.get("include-system-site-packages", "false") != "false":
        yield Outcome(
            _CHECK,
            "error",
            "it sees the packages of the system's Python",
            f"Write `include-system-site-packages = false` in {prefix / 'pyvenv.cfg'}",
        )


def _setting(line: str) -> tuple[str, str]:
    key, _, value = line.partition("=")
    return key.strip().lower(), value.strip().lower()


def _linked(prefix: Path) -> Iterator[Outcome]:
    """Files that bring folders of elsewhere onto the path."""
    for file in (path for folder in site_folders(prefix) for path in sorted(folder.glob("*.pth"))):
        try:
            lines = file.read_text("utf-8", "replace").splitlines()
        except OSError:
            continue  # the check of files says so
        for line in map(str.strip, lines):
            # Lines that Python runs are those of setuptools, mostly.
            if not line or line.startswith(("#", "import ", "import\t")):
                continue
            if not _is_below(Path(file.parent, line), prefix):
                fact = f"{file.name} brings {line} onto its path"
                yield Outcome(_CHECK, "warning", fact, f"Remove {file}, or install a wheel of it")


def _in_shell() -> Iterator[Outcome]:
    """Variables of the shell that every Python follows."""
    for name in ("PYTHONPATH", "PYTHONHOME"):
        if value := os.environ.get(name):
            fact = f"{name} is set in this shell: every environment sees {value}"
            yield Outcome(
                _CHECK, "warning", fact, f"Remove it from the shell's files: unset {name}"
            )


def _on_path(prefix: Path, interpreter: Interpreter) -> Iterator[Outcome]:
    """Folders on the path of its Python."""
    base = Path(interpreter.base)
    for entry in interpreter.path:
        folder = Path(entry)
        is_packages = folder.name in ("site-packages", "dist-packages")
        is_shared = is_packages or not _is_below(folder, base)
        if is_shared and not _is_below(folder, prefix) and not _is_linked(folder, prefix):
            fact = f"its Python looks for packages in {entry}"
            yield Outcome(_CHECK, "error", fact, _ANEW)
    if interpreter.user_site and not _without_user_site(prefix):
        is_conda = (prefix / "conda-meta").is_dir()
        conda = f"Run `conda env config vars set --prefix {prefix} PYTHONNOUSERSITE=1`"
        yield Outcome(
            _CHECK,
            "warning",
            "its Python looks for packages of the user",
            conda if is_conda else _ANEW,
        )


def _pip_settings(interpreter: Interpreter, cwd: Path) -> Iterator[Outcome]:
    command = [sys.executable, "-m", "pip", "--python", str(interpreter.program)]
    # As in the user's shell: its variables count.
    answer = ask([*command, "config", "list"], _TIMEOUT, cwd, os.environ)
    for line in answer.output.splitlines():
        key, _, value = line.partition("=")
        name = key.rpartition(".")[2]
        if name in _ELSEWHERE and value.strip("'\"").lower() not in ("", "0", "false", "no"):
            fact = f"pip's setting {key} puts packages elsewhere: {value}"
            in_shell = key.startswith(":env:")
            here, there = ("unset", f"PIP_{name.upper()}"), ("pip", "config", "unset", key)
            unset = f"Remove it: {shlex.join(here if in_shell else there)}"
            yield Outcome(_CHECK, "error", fact, unset)


def _is_below(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


def _is_linked(folder: Path, prefix: Path) -> bool:
    """Whether a .pth file brought it, which is said already."""
    names = (
        path.read_text("utf-8", "replace") for s in site_folders(prefix) for path in s.glob("*.pth")
    )
    return any(str(folder) in text.splitlines() for text in names)


def _without_user_site(prefix: Path) -> bool:
    """Whether conda sets the variable that leaves the user's packages out."""
    try:
        state: Mapping[str, Mapping[str, str]] = json.loads(
            (prefix / "conda-meta" / "state").read_text("utf-8")
        )
        return state["env_vars"].get("PYTHONNOUSERSITE") == "1"
    except (OSError, ValueError, KeyError, AttributeError):
        return False
