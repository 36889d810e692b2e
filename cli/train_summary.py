"""How `train` and `tune` end alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from mlx_probe.core.language import tr
from mlx_probe.report.terminal.plain import plain
from mlx_probe.runs.run import Run

from .document import print_document

__all__ = ["end_run", "print_early_stop", "print_steps", "print_written"]

# Training ended before the last planned step, as the configuration wanted.
EARLY = 4


def end_run(
    run: Run,
    document: Callable[[Run], dict[str, Any]],
    summary: Callable[[Run], None],
    as_json: bool,
    quiet: bool,
) -> None:
    """Print a finished run, and end with its exit code where that is not 0.

    Args:
        run: The run.
        document: Makes the document of --json.
        summary: Prints the run for people.
        as_json: Whether --json was given.
        quiet: Whether --quiet was given.

    Raises:
        click.ClickException: The validation failed.
        click.exceptions.Exit: It stopped early.
    """
    if as_json:
        print_document(document(run))
    elif not quiet:
        summary(run)
    if not run.passed:
        raise click.ClickException("the validation failed\n  " + plain("\n  ".join(run.failures)))
    if run.meta["stopped_early"]:
        raise click.exceptions.Exit(EARLY)


def print_steps(meta: Mapping[str, Any], tokens_per_second: float) -> None:
    """The line of steps, tokens and time.

    Args:
        meta: Run metadata.
        tokens_per_second: The rate.
    """
    click.echo(
        tr(
            "{steps} of {planned} steps, {tokens} tokens in {seconds} s, {rate} tokens/s on "
            "{device}",
            steps=meta["steps_done"],
            planned=meta["planned_steps"],
            tokens=f"{meta['tokens']:,}",
            seconds=f"{meta['training_seconds']:.1f}",
            rate=f"{tokens_per_second:,.0f}",
            device=meta["device"],
        )
    )


def print_early_stop(meta: Mapping[str, Any]) -> None:
    """A line, where the run stopped early."""
    if meta["stopped_early"]:
        click.echo(
            tr(
                "stopped early: no evaluation after step {step} was better (train.patience)",
                step=meta["best"]["step"],
            )
        )


def print_written(run: Run, weights: str) -> None:
    """The paths of what the run wrote.

    Args:
        run: The finished run.
        weights: The folder of its weights.
    """
    names = {Path(name).parts[0]: None for name in (weights, *run.meta["outputs"])}
    for path in (*(run.folder / name for name in names), run.meta_path):
        click.echo(f"  {plain(str(path))}")
