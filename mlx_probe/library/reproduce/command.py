"""The command of a run, for a shell and to be run into another folder."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_probe.core.errors import ConfigError, ResultError
from mlx_probe.core.invocation import HIDDEN
from mlx_probe.runs.experiments import Experiment
from mlx_probe.runs.provenance import VARIABLES

__all__ = ["LIBRARY", "Again", "command_again", "kept_variables", "shell_line"]

# Options that write somewhere else than to the run folder, each with a value.
_ELSEWHERE = ("--save-result", "--report")
# Options that decide whether an earlier run in the folder is taken over: there is none.
_BEFORE = ("--overwrite", "--resume", "--no-resume")
# A file of settings can be anybody's: a library named in it would be loaded. These are shown, and
# count as differences, but they are not set.
LIBRARY = re.compile(r"LD_PRELOAD|MLX_PROBE_MLX_BLAS|.*PATH")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Again:
    """A command that makes a run again.

    Attributes:
        arguments: Words after `mlx-probe`.
        folder: Where it runs.
        out: What it writes: a folder, or a file in it.
        variables: Environment variables that it gets in the place of all that matter; None for
            those that there are.
    """

    arguments: tuple[str, ...]
    folder: Path
    out: Path
    variables: Mapping[str, str] | None


def kept_variables(meta: Mapping[str, Any]) -> dict[str, str] | None:
    """The environment variables that a run had and that matter; None where nobody wrote them."""
    listed = meta.get("variables")
    if not isinstance(listed, Mapping):
        return None
    return {
        name: value
        for name, value in listed.items()
        if isinstance(value, str) and "\0" not in value and VARIABLES.fullmatch(str(name))
        if _NAME.fullmatch(name)
    }


def shell_line(run: Experiment, variables: Mapping[str, str] | None) -> str:
    """The command with its folder and variables, to paste into a shell; "" if it is not known."""
    if not run.command:
        return ""
    words = [f"{name}={shlex.quote(value)}" for name, value in (variables or {}).items()]
    words += [shlex.quote(word) for word in run.command]
    begin = [shlex.join(["cd", run.working_folder])] if run.working_folder else []
    return " && ".join([*begin, " ".join(words)])


def command_again(run: Experiment, variables: Mapping[str, str] | None, out: Path) -> Again:
    """The command that makes the run again in another folder.

    Args:
        run: The run.
        variables: From `kept_variables`.
        out: The folder to write.

    Raises:
        ResultError: The command is not known, or its folder is gone.
        ConfigError: It needs a secret.
    """
    if not run.command:
        raise ResultError(
            f"{run.marker} does not say which command made it",
            "It was made from Python or by an earlier version: make it again by hand, and compare "
            "with --against RUN",
        )
    if any(HIDDEN in word for word in run.command):
        raise ConfigError(
            f"the command of {run.marker} has a secret, which is kept nowhere",
            "Run the printed command with it and with another --out, and compare with --against",
        )
    folder = Path(run.working_folder)
    if not run.working_folder or not folder.is_dir():
        raise ResultError(
            f"the command ran in {run.working_folder or 'an unknown folder'}, which is not there",
            "Make the folder again, with what the command reads in it",
        )
    arguments, before = _without_out(run.command[1:])
    # A file keeps its name, which says the format.
    name = Path(before).name if before and run.folder != _real(folder / before) else ""
    written = out / name if name else out
    return Again(
        arguments=(*arguments, "--out", str(written)),
        folder=folder,
        out=written,
        variables=None
        if variables is None
        else {k: v for k, v in variables.items() if not LIBRARY.fullmatch(k)},
    )


def _real(path: Path) -> Path:
    try:
        return path.expanduser().resolve()
    except (OSError, RuntimeError):
        return path


def _without_out(words: Sequence[str]) -> tuple[list[str], str]:
    """Arguments without those that say where to write, and where that was."""
    kept: list[str] = []
    out, takes = "", ""
    for word in words:
        name, equals, value = word.partition("=")
        if takes:
            out = word if takes == "--out" else out
            takes = ""
        elif name in ("--out", *_ELSEWHERE):
            if not equals:
                takes = name
            elif name == "--out":
                out = value
        elif word not in _BEFORE:
            kept.append(word)
    return kept, out
