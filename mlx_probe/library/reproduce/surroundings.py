"""What is not as it was when a run was made: versions, code, machine, inputs, variables."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mlx_probe.core.errors import ConfigError
from mlx_probe.core.version import __version__
from mlx_probe.library.reproduce.command import LIBRARY, kept_variables
from mlx_probe.library.reproduce.records import Difference
from mlx_probe.library.reproduce.scripts import facts_script
from mlx_probe.runs.environment import package_versions
from mlx_probe.runs.experiments import Experiment
from mlx_probe.runs.provenance import code_commit, variables

__all__ = ["differences"]

_PATIENT = 120.0
# Packages that compute no number and write no bit of a result.
_BESIDE = frozenset({"click", "huggingface_hub", "pip", "psutil", "rich"})
# Facts of the machine, and whether one can change a number.
_FACTS = {
    "python": True,
    "machine": True,
    "cpu": True,
    "mlx_blas": True,
    "cpu_count": False,
    "platform": False,
}


def _surroundings(
    python: str | None, with_mlx: bool = False
) -> tuple[str, str | None, Mapping[str, Any]]:
    """Version of mlx-probe, commit, and environment: of this process, or of an interpreter.

    Args:
        python: Path of an interpreter that has mlx-probe; None for this one.
        with_mlx: Whether the run computed with MLX, whose libraries are then loaded.

    Raises:
        ConfigError: It is none.
    """
    if python is None and not with_mlx:
        return __version__, code_commit(), package_versions()
    python = python or sys.executable
    try:
        said = subprocess.run(
            [python, "-c", facts_script(with_mlx)],
            capture_output=True,
            timeout=_PATIENT,
            check=False,
        )
        version, commit, environment = json.loads(said.stdout)
        if said.returncode or not isinstance(environment, dict):
            raise ValueError("it does not say its packages")
    except (OSError, ValueError, TypeError, subprocess.SubprocessError) as error:
        raise ConfigError(
            f"--python {python} has no mlx-probe that runs: {_first(error)}",
            "Name the python of an environment with mlx-probe, such as ENV/bin/python",
        ) from error
    return str(version), commit, environment


def _first(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def differences(
    run: Experiment, meta: Mapping[str, Any], python: str | None = None
) -> tuple[Difference, ...]:
    """What is not as it was, that which can change a result first.

    Args:
        run: The run.
        meta: Its metadata.
        python: See `reproduce`.

    Raises:
        ConfigError: See `reproduce`.
    """
    before = meta.get("environment")
    with_mlx = isinstance(before, Mapping) and isinstance(before.get("mlx_blas"), str)
    version, commit, environment = _surroundings(python, with_mlx)
    found = [
        *_of("mlx-probe", run.version or None, version),
        *_code(run.code or None, commit),
        *_environment(before if isinstance(before, Mapping) else {}, environment),
        *_variables(kept_variables(meta)),
        *_inputs(run, meta),
    ]
    return tuple(sorted(found, key=lambda each: not each.matters))


def _of(name: str, before: object, now: object, matters: bool = True) -> Iterator[Difference]:
    # What the run did not record is no difference.
    if before is not None and before != now:
        yield Difference(name, _text(before), _text(now), matters)


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value) if isinstance(value, (list, dict)) else str(value)


def _code(before: str | None, now: str | None) -> Iterator[Difference]:
    if before is not None and before != now:
        yield Difference("code", before, now, True)
    elif before is not None and before.endswith("-dirty"):
        # Whether they are the changes of then nobody can tell.
        yield Difference("code with changes in no commit", before, now, False)


def _environment(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Difference]:
    for name, matters in _FACTS.items():
        # Null also stands for what was not loaded.
        yield from _of(name, before.get(name), now.get(name), matters)
    earlier, later = (each.get("packages") or {} for each in (before, now))
    if isinstance(earlier, Mapping):
        for name in sorted({*earlier, *later} if earlier else ()):
            if earlier.get(name) != later.get(name):
                yield Difference(
                    f"package {name}",
                    _text(earlier.get(name)),
                    _text(later.get(name)),
                    name not in _BESIDE,
                )
    for name in ("blas", "kernels"):
        yield from _parts(name, before.get(name), now.get(name))


def _parts(name: str, before: object, now: object) -> Iterator[Difference]:
    """Libraries of linear algebra, and our own kernels; pools depend on what was loaded."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key, value in before.items():
            if key != "thread_pools":
                yield from _of(f"{name} {key}", value, now.get(key))


def _variables(before: Mapping[str, str] | None) -> Iterator[Difference]:
    """Those that were set and are not, or otherwise; --run sets them, except libraries."""
    if before is None:
        return
    now = variables()
    for name in sorted({*before, *now}):
        if before.get(name) != now.get(name):
            matters = LIBRARY.fullmatch(name) is not None
            yield Difference(f"variable {name}", before.get(name), now.get(name), matters)


def _inputs(run: Experiment, meta: Mapping[str, Any]) -> Iterator[Difference]:
    for each in run.inputs:
        if each.path and not os.path.lexists(each.path):
            yield Difference(f"input {each.name}", each.path, None, True)
    model, stamps = meta.get("model"), meta.get("stamps")
    weights = model.get("weights") if isinstance(model, Mapping) else None
    if not isinstance(weights, list) or not isinstance(stamps, list):
        return
    for path, stamp in zip(weights, stamps, strict=False):
        if isinstance(path, str) and isinstance(stamp, list) and len(stamp) == 3:
            yield from _stamped(path, stamp)


def _stamped(path: str, stamp: list[Any]) -> Iterator[Difference]:
    """A file of weights by its size and the time of its last change."""
    try:
        found = Path(path).stat()
    except (OSError, ValueError):
        return  # said above
    if [found.st_size, found.st_mtime_ns] != stamp[1:]:
        before, now = f"{stamp[1]} bytes", f"{found.st_size} bytes"
        if found.st_size == stamp[1]:
            before, now = "as it was", "changed since"
        yield Difference(f"file {path}", before, now, True)
