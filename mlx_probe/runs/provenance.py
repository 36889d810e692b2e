"""What made a run, beside its inputs and settings: command, folder, code, variables."""

from __future__ import annotations

import os
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from mlx_probe.core.invocation import environment, invocation

__all__ = ["VARIABLES", "as_utf8", "code_commit", "provenance", "variables"]

# Environment variables that decide what a command does, or its numbers: our own options, threads
# and libraries of linear algebra, and where models are.
VARIABLES = re.compile(
    r"MLX_(?!PROBE_(CATALOG|LANG)$).+|OMP_.+|OPENBLAS_.+|MKL_.+|BLIS_.+|VECLIB_MAXIMUM_THREADS|LD_PRELOAD|PYTHONHASHSEED"
    r"|HF_(HOME|HUB_CACHE|HUB_OFFLINE|ENDPOINT)|CUDA_VISIBLE_DEVICES|CUBLAS_WORKSPACE_CONFIG"
)
# Never kept, whatever else the name says.
_SECRET = re.compile(r"TOKEN|KEY|SECRET|PASSW|CREDENTIAL|HEADER|AUTH", re.IGNORECASE)
_COMMIT = re.compile(r"[0-9a-f]{40}(-dirty)?")
# Seconds. On a network share `git` may take long, and a run can do without it.
_PATIENT = 10.0


def provenance() -> dict[str, Any]:
    """The metadata's keys "command", "working_folder", "code" and "variables".

    No fingerprint contains them: the same inputs and settings are the same run from anywhere.
    """
    return {
        "command": [as_utf8(word) for word in invocation()],
        "working_folder": _working_folder(),
        "code": code_commit(),
        "variables": variables(),
    }


def variables() -> dict[str, str]:
    """The environment variables that matter, by name; without secrets."""
    return {
        name: as_utf8(value)
        for name, value in sorted(environment().items())
        if VARIABLES.fullmatch(name) and not _SECRET.search(name)
    }


# The code of a process is that of its start.
@cache
def code_commit() -> str | None:
    """The commit of the work tree that this package runs from, "-dirty" if it has changes.

    Returns:
        None for an installed package, or where git does not say.
    """
    root = Path(__file__).resolve().parents[2]
    # Only where the package itself is tracked: an environment may lie in another project's tree.
    if not (root / ".git").exists():
        return None
    environment = {name: value for name, value in os.environ.items() if name[:4] != "GIT_"}
    try:
        said = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude", "*"],
            cwd=root,
            env={**environment, "GIT_OPTIONAL_LOCKS": "0"},
            capture_output=True,
            timeout=_PATIENT,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    commit = said.stdout.decode("ascii", "replace").strip()
    return commit if _COMMIT.fullmatch(commit) else None


def _working_folder() -> str | None:
    try:
        return as_utf8(str(Path.cwd()))
    except OSError:
        return None  # it was removed


def as_utf8(text: str) -> str:
    """Names of files can be any bytes, and the metadata are UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()
