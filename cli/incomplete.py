"""Jobs that end without numbers for a part of the model: an exit code of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from mlx_probe.core.errors import IncompleteError
from mlx_probe.runs.run import Run

__all__ = ["allow_unknown_option", "refuse_unread"]

Command = TypeVar("Command", bound=Callable[..., Any])


def allow_unknown_option(command: Command) -> Command:
    """--allow-unknown."""
    return click.option(
        "--allow-unknown",
        is_flag=True,
        help="End with exit code 0, not 3, though weights whose quantization is not understood "
        "have no numbers.",
    )(command)


def refuse_unread(run: Run, allow_unknown: bool) -> None:
    """End with exit code 3 if a part of the model has no numbers.

    Raises:
        IncompleteError: It has none, and the user did not allow it. All rows are written.
    """
    if run.unread is not None and not allow_unknown:
        raise IncompleteError(
            f"incomplete: {run.unread}",
            "The other tensors are measured, and the table gives the reason for each row. "
            "--allow-unknown accepts that",
        )
