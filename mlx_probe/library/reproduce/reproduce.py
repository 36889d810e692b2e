"""Making a run again: read top to bottom."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from mlx_probe.core.errors import ConfigError, Interrupted, ResultError
from mlx_probe.core.invocation import environment as started_with
from mlx_probe.library.reproduce.command import (
    LIBRARY,
    Again,
    command_again,
    kept_variables,
    shell_line,
)
from mlx_probe.library.reproduce.records import Reproduction
from mlx_probe.library.reproduce.results import compare_results
from mlx_probe.library.reproduce.scripts import MAIN
from mlx_probe.library.reproduce.surroundings import differences
from mlx_probe.runs.experiments import Experiment, find_markers, read_experiment
from mlx_probe.runs.folder import stem_of
from mlx_probe.runs.meta import read_meta
from mlx_probe.runs.provenance import VARIABLES
from mlx_probe.runs.small_run import META

__all__ = ["reproduce"]


def reproduce(
    path: Path,
    run: bool = False,
    out: Path | None = None,
    against: Path | None = None,
    tolerance: float = 0.0,
    anyway: bool = False,
    python: str | None = None,
    before_run: Callable[[Reproduction], None] = lambda found: None,
) -> Reproduction:
    """Say how a run is made again; run it if asked to, and compare the results.

    Args:
        path: A run folder, or the file by which the run is recognised.
        run: Whether to run the command.
        out: The folder to write; None for a new one beside the run.
        against: A run that was made again already, to compare with.
        tolerance: Share of a number by which it may differ.
        anyway: Whether to run although something is not as it was that can change results.
        python: Path of the interpreter to run with; None for this one.
        before_run: Called with what is known before the command runs.

    Returns:
        What differs, and the results if they were compared.

    Raises:
        ConfigError: The environment is another one, or the command needs a secret.
        ResultError: There is no run, its command is not known or fails, or ``out`` is in use.
        Interrupted: The user stopped the command.
    """
    first = read_experiment(path)
    if run and against is not None:
        raise ConfigError("--run with --against", "Give one of them")
    if out is not None and not run:
        raise ConfigError("--out without --run", "Add --run, or leave --out away")
    meta = read_meta(first.marker) if first.marker.suffix == ".json" else {}
    variables = kept_variables(meta)
    found = Reproduction(
        run=first,
        shell=shell_line(first, variables),
        command=first.command,
        variables=variables or {},
        differences=differences(first, meta, python),
        tolerance=tolerance,
    )
    if against is not None:
        second = read_experiment(against)
    elif run:
        refuse_unfinished(first)
        again = command_again(first, variables, _new_folder(first, out))
        _refuse_other(found, anyway)
        before_run(found)
        second = _run(again, first, python)
    else:
        return found
    return replace(found, out=second.marker, compared=compare_results(first, second))


def refuse_unfinished(run: Experiment) -> None:
    """Refuse a run without results.

    Raises:
        ResultError: It is such a run.
    """
    if run.state in ("running", "interrupted"):
        raise ResultError(
            f"{run.folder} is {run.state}: it has no results to compare with",
            "Run its command again to finish it; without --run it is printed",
        )


def _refuse_other(found: Reproduction, anyway: bool) -> None:
    names = [f"{d.name} ({d.before}, now {d.now})" for d in found.differences if d.matters]
    if names and not anyway:
        raise ConfigError(
            f"this is not what the run was made with: {'; '.join(names)}",
            "Make an environment with these versions and name its --python, or run it --anyway",
        )


def _new_folder(run: Experiment, out: Path | None) -> Path:
    """An absolute path: the command runs elsewhere.

    Raises:
        ResultError: The folder is not empty.
    """
    if out is None:
        # The folder of a single file may hold anything else.
        is_file = run.kind == "export" and run.marker.name != META
        beside = run.folder / stem_of(run.marker) if is_file else run.folder
        for number in itertools.count(1):
            end = "" if number == 1 else f"-{number}"
            folder = beside.with_name(f"{beside.name}-again{end}")
            if not folder.exists():
                return folder
    assert out is not None
    folder = Path(os.path.abspath(out))  # noqa: PTH100  links stay as the user wrote them
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ResultError(f"{folder} is not empty", "Choose another folder with --out")
    return folder


def _run(again: Again, first: Experiment, python: str | None) -> Experiment:
    """Run the command, and read what it left.

    Raises:
        ResultError: It failed, or left nothing.
        Interrupted: The user stopped it.
    """
    # As this command was started: what it has set for itself is its own.
    environment = dict(started_with())
    if again.variables is not None:
        # What loads a library is taken from here alone.
        apart = {k for k in environment if VARIABLES.fullmatch(k) and not LIBRARY.fullmatch(k)}
        environment = {k: v for k, v in environment.items() if k not in apart}
        environment |= again.variables
    words = [python or sys.executable, "-c", MAIN]
    with subprocess.Popen(
        [*words, *again.arguments],
        cwd=again.folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        # Standard output is for the comparison.
        stdout=sys.stderr if _has_descriptor() else subprocess.DEVNULL,
        # Ctrl-C comes from here, once: a second one would keep it from saving what it has.
        start_new_session=True,
    ) as process:
        try:
            code = process.wait()
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)
            process.wait()
            raise Interrupted(
                f"interrupted; what the command wrote is in {again.out}", "Run it again"
            ) from None
    markers = _markers(again, first)
    if code and not markers:
        raise ResultError(f"the command ended with exit code {code}", "Its messages above say why")
    if len(markers) != 1:
        raise ResultError(
            f"the command left {len(markers)} runs of {first.kind} in {again.out}",
            "Compare the right one with --against",
        )
    return read_experiment(markers[0])


def _markers(again: Again, first: Experiment) -> list[Path]:
    """The run of the same kind that the command left."""
    folder = again.out if again.out.is_dir() else again.out.parent
    found = []
    for marker in find_markers(folder):
        if marker.parent == Path(os.path.realpath(folder)):
            try:
                if read_experiment(marker).kind == first.kind:
                    found.append(marker)
            except ResultError:
                continue
    return found


def _has_descriptor() -> bool:
    try:
        sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):
        return False  # a test's own stream
    return True
