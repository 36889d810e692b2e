"""`runs sweep`: many runs of one command with different settings."""

from __future__ import annotations

import difflib
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlx_probe.cli.command import Command
from mlx_probe.cli.document import json_option, print_document
from mlx_probe.cli.options import quiet_option
from mlx_probe.core.errors import ConfigError
from mlx_probe.core.files import write_text
from mlx_probe.core.language import tr
from mlx_probe.core.messages import translated
from mlx_probe.report.terminal.plain import plain

if TYPE_CHECKING:
    from mlx_probe.lab.sweep.config import SweepConfig
    from mlx_probe.lab.sweep.records import Outcome, SweepResult, Trial

__all__ = ["check_sweep", "sweep_command"]


@click.command(
    "sweep",
    cls=Command,
    context_settings={"show_default": True},
    examples=(
        "mlx-probe runs sweep configs/sweep/learning_rate.yaml --out rates --dry-run",
        "mlx-probe runs sweep configs/sweep/learning_rate.yaml --out rates",
        "mlx-probe runs sweep my.yaml --out rates --cluster local:2",
    ),
)
@click.argument("config", type=click.Path(path_type=Path, dir_okay=False), metavar="CONFIG.yaml")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="The folder of the sweep."
)
@click.option(
    "--workers",
    type=click.IntRange(1),
    metavar="N",
    default=1,
    help="Trials at a time on this machine, each a process.",
)
@click.option(
    "--cluster",
    metavar="ADDRESS",
    help="Let the workers of a Dask cluster run the trials: tcp://host:8786, or local:N. They see "
    "--out and all that the command reads under the same paths.",
)
@click.option("--retry", is_flag=True, help="Run trials that failed again.")
@click.option("--dry-run", is_flag=True, help="Print the command of each trial, and end.")
@json_option
@quiet_option
def sweep_command(
    config: Path,
    out: Path,
    workers: int,
    cluster: str | None,
    retry: bool,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Run a command with many settings, and say which of them is the best.

    CONFIG.yaml names the command, its parameters, and the metric that counts. Each trial is a run
    in a folder of its own. After Ctrl-C or `kill -9` the same command goes on: a finished trial is
    not run again, an interrupted training goes on where it was. Trials that fail are listed with
    their reason, and the others go on. The page sweep.html shows all of them.

    The exit code is 1 if no trial has the metric.
    """
    from mlx_probe.lab.sweep.config import read_sweep
    from mlx_probe.lab.sweep.records import Outcome, SweepResult, plan_trials

    settings = read_sweep(config)
    check_sweep(settings)
    if cluster is not None and workers > 1:
        raise ConfigError("--workers is for trials on this machine", "Leave it or --cluster out")
    if dry_run:
        waiting = tuple(Outcome(trial, "waiting") for trial in plan_trials(settings, out))
        planned = SweepResult(out, settings, waiting).describe()
        if as_json:
            print_document({**planned, "page": None})
        else:
            click.echo(plain("\n".join(shlex.join(each["command"]) for each in planned["trials"])))
        return
    result = _run(settings, out, workers, cluster, retry, quiet)
    if as_json:
        print_document({**result.describe(), "page": str(result.folder / "sweep.html")})
    else:
        _print(result)
    if result.best is None:
        raise click.exceptions.Exit(1)


def _run(
    settings: SweepConfig, out: Path, workers: int, cluster: str | None, retry: bool, quiet: bool
) -> SweepResult:
    """Run the trials, and write the page and the metadata."""
    from mlx_probe.lab.sweep.sweep import KIND, PAGE, run_sweep, write_sweep
    from mlx_probe.report.html.sweep_page import sweep_html
    from mlx_probe.runs.small_run import SmallRun

    made = SmallRun(KIND)

    def say(text: str) -> None:
        if not quiet:
            click.echo(plain(text), err=True)

    def started(trial: Trial) -> None:
        say(tr("trial {number}: {settings}", number=trial.number, settings=_settings(trial)))

    def ended(outcome: Outcome) -> None:
        say(_line(outcome, settings.metric))

    result = run_sweep(
        settings,
        out,
        workers=workers,
        cluster=cluster,
        retry=retry,
        on_start=started,
        on_outcome=ended,
    )
    experiments = [each.experiment for each in result.outcomes]
    write_text(result.folder / PAGE, sweep_html(result.describe(), experiments))
    write_sweep(result, made)
    return result


def check_sweep(settings: SweepConfig) -> None:
    """Refuse a sweep whose command does not exist, or has no such option.

    Args:
        settings: The sweep.

    Raises:
        ConfigError: So it is.
    """
    from mlx_probe.cli import cli

    command: click.Command = cli
    words = list(settings.command)
    while isinstance(command, click.Group):
        word = words.pop(0) if words else ""
        if word not in command.commands:
            near = difflib.get_close_matches(word, list(command.commands), n=1)
            hint = f"Did you mean {near[0]!r}?" if near else "See `mlx-probe --help`"
            raise ConfigError(f"there is no command {word!r}", hint)
        command = command.commands[word]
    options = {
        name: option for option in command.params for name in (*option.opts, *option.secondary_opts)
    }
    if "--out" not in options:
        raise ConfigError(f"{command.name} writes no run folder", "Sweep over a command with --out")
    for name in settings.parameters:
        wanted = name if name.startswith("--") else "--set"
        if wanted not in options:
            near = difflib.get_close_matches(wanted, options, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"See `mlx-probe {command.name} --help`"
            raise ConfigError(f"{command.name} has no option {wanted}, for {name}", hint)


def _settings(trial: Trial) -> str:
    return ", ".join(f"{name}={value}" for name, value in trial.values.items())


def _line(outcome: Outcome, metric: str) -> str:
    """What became of a trial."""
    if outcome.value is None:
        reason = translated(outcome.reason)
        return tr("trial {number} failed: {reason}", number=outcome.trial.number, reason=reason)
    text = tr(
        "trial {number}: {metric} {value}",
        number=outcome.trial.number,
        metric=metric,
        value=f"{outcome.value:.6g}",
    )
    return text if outcome.seconds is None else f"{text} ({outcome.seconds:.1f} s)"


def _print(result: SweepResult) -> None:
    counts = {"finished": len(result.finished), "failed": len(result.failed)}
    click.echo(tr("{finished} trials finished, {failed} failed", **counts))
    for outcome in result.failed:
        click.echo(plain(f"  {_line(outcome, result.config.metric)}"))
    best = result.best
    if best is not None and best.value is not None:
        click.echo(
            plain(
                tr(
                    "best: trial {number}, {metric} {value}: {settings}",
                    number=best.trial.number,
                    metric=result.config.metric,
                    value=f"{best.value:.6g}",
                    settings=_settings(best.trial),
                )
            )
        )
        click.echo(plain(f"  {best.trial.folder}"))
    click.echo(plain(f"  {result.folder / 'sweep.html'}"))
