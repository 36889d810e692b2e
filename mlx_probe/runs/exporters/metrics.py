"""metrics.jsonl: what a run measures at each step, one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

from mlx_probe.core.errors import ResultError
from mlx_probe.core.files import whole_lines

__all__ = ["METRICS", "Values", "read_metrics"]

METRICS = "metrics.jsonl"

# A number is there; None is no number.
Values: TypeAlias = Mapping[str, int | float | None]


def read_metrics(run: Path) -> Iterator[Values]:
    """The metrics step by step, as far as they are written: the run may go on.

    Args:
        run: The run folder.

    Yields:
        The numbers of a step by name, the step itself as "step"; what is no number is left out.

    Raises:
        ResultError: There are none, or a line is damaged.
    """
    path = run / METRICS
    try:
        with path.open("rb") as file:
            for number, line in enumerate(whole_lines(file), 1):
                yield _numbers(path, number, line)
    except OSError as error:
        raise ResultError(
            f"{path} cannot be read: {error.strerror}", "Name the folder of a training run"
        ) from error


def _numbers(path: Path, number: int, line: bytes) -> Values:
    try:
        entry = json.loads(line)
        if not isinstance(entry["step"], int):
            raise ValueError("its step is no whole number")
    except (ValueError, KeyError, TypeError) as error:
        raise ResultError(
            f"{path}, line {number}, is damaged: {error}",
            "Resume the run, which writes it again from its last checkpoint",
        ) from error
    return {name: value for name, value in entry.items() if _is_number(value)}


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))
