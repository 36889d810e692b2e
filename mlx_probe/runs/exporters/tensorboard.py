"""TensorBoard's event files."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

from mlx_probe.core.files import write_error
from mlx_probe.core.markdown import escaped, table
from mlx_probe.runs.exporters import events
from mlx_probe.runs.exporters.metrics import Values

if TYPE_CHECKING:
    from mlx_probe.runs.exporters.exported import ExportedRun

__all__ = ["open_log", "show", "write", "write_events"]

_NAME = events.NAME


def write(run: ExportedRun, out: Path) -> Path:
    """Write the numbers, and settings, notes and tags for the plugins of hyperparameters and text.

    Numbers are float32: larger ones become infinite. What is not finite stays so.

    Args:
        run: The run.
        out: The folder of all exports.

    Returns:
        The folder of this one.

    Raises:
        ResultError: The run has no numbers, or the disk refused.
    """
    folder = out / run.slug
    write_events(run, folder)
    return folder


def write_events(run: ExportedRun, folder: Path) -> None:
    """Write the event file of a run, in the place of those that are there.

    Args:
        run: The run.
        folder: Where; it is for this run alone.

    Raises:
        ResultError: The run has no numbers, or the disk refused.
    """
    run.require_numbers()
    events.write_file(folder / _NAME, [events.begin(run.began), *_records(run)])
    _remove_others(folder, _NAME)


def show(out: Path) -> str:
    """The command that shows what is in a folder of exports."""
    return shlex.join(["tensorboard", "--logdir", str(out)])


class _Log:
    """An event file that grows."""

    def __init__(self, run: ExportedRun, out: Path) -> None:
        self._folder, self._run = out / run.slug, run
        # Another name than before: a TensorBoard that is open reads on in files that it knows.
        path = self._folder / _next_name(self._folder)
        first = [events.begin(run.began), events.restart(run.began, 0)]
        events.write_file(path, [*first, *_records(run)])
        _remove_others(self._folder, path.name)
        try:
            self._file: IO[bytes] = path.open("ab", buffering=0)
        except OSError as error:
            raise write_error(path, error) from error

    def log(self, values: Values) -> None:
        self._file.write(events.scalars(self._run.time_of(values), values))

    def close(self, run: ExportedRun) -> None:
        with self._file:
            self._file.write(b"".join(_end(replace(run, began=self._run.began))))


def open_log(run: ExportedRun, out: Path) -> _Log:
    """Go on with the event file of a run; what is in it becomes what the run has so far.

    Args:
        run: The run with its steps so far.
        out: The folder of all exports.

    Raises:
        ResultError: The disk refused.
    """
    return _Log(run, out)


def _records(run: ExportedRun) -> Iterator[bytes]:
    texts = {name: text for name, text in run.describe().items() if text}
    about = table(["", ""], [[name, escaped(text)] for name, text in texts.items()])
    yield events.described(run.began, {"kind": run.kind, **run.params}, {"run/text_summary": about})
    for values in run.steps:
        yield events.scalars(run.time_of(values), values)
    yield from _end(run)


def _end(run: ExportedRun) -> Iterator[bytes]:
    if (final := run.final_row()) is not None:
        yield events.scalars(run.time_of(final), final)
    if run.ended is not None:
        yield events.ended(run.ended, run.last_step, run.state)


def _next_name(folder: Path) -> str:
    """A name that sorts behind those that are there."""
    last = max((path.name for path in folder.glob(f"{_NAME}*")), default="")
    if not last:
        return _NAME
    number = last.removeprefix(_NAME).lstrip(".")
    return f"{_NAME}.{int(number) + 1 if number.isdecimal() else 1:06}"


def _remove_others(folder: Path, name: str) -> None:
    try:
        for path in folder.glob(f"{_NAME}*"):
            if path.name != name:
                path.unlink()
    except OSError as error:
        raise write_error(folder, error) from error
