"""`mlx-probe monitor`."""

from __future__ import annotations

import select
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import click
from rich.console import Console
from rich.live import Live

from mlx_probe.core.language import tr
from mlx_probe.report.terminal.monitor import dashboard
from mlx_probe.runs.monitor.follow import JobFollower, attach
from mlx_probe.runs.table.strict_json import encode

from .command import Command
from .console import output
from .document import wants_json
from .options import complete_files

__all__ = ["monitor"]

# Seconds between two frames.
INTERVAL = 0.5
# Columns of a frame that goes to a file: longer than any name of a tensor or model.
_PIPED = 400


@click.command(
    cls=Command,
    examples=(
        "mlx-probe monitor",
        "mlx-probe monitor data/outputs/Qwen--Qwen3-0.6B --once",
        "mlx-probe monitor 4711 --json",
    ),
)
@click.argument("run", metavar="[RUN|PID]", required=False, shell_complete=complete_files)
@click.option("--once", is_flag=True, help="Print one frame and leave.")
@click.option("--json", "as_json", is_flag=True, help="Print the samples as JSON, a line each.")
@click.pass_context
def monitor(ctx: click.Context, run: str | None, once: bool, as_json: bool) -> None:
    """Watch a running job: progress, memory, processor, disk, bandwidth, device, alerts.

    PID is the job's process, RUN its folder or one of its files; a model's folder means the run
    in it that works now, or the latest one. Without either, the only running
    job is shown; for a run that is over, the samples that were kept. This command does not slow
    the job down, and the job goes on when it ends.
    """
    if as_json:
        wants_json(ctx)
    follower = attach(run)
    if as_json:
        _print_lines(follower)
        return
    console = output()
    follower.news()
    if once or not console.is_terminal or follower.view().is_over:
        _print_frame(console, follower)
        return
    with suppress(KeyboardInterrupt):
        _follow(console, follower)
    if follower.view().is_over:
        _print_frame(console, follower)


def _follow(console: Console, follower: JobFollower) -> None:
    """Draw frames until the user leaves or the job is over."""
    hint = tr("q leaves; the job goes on")
    with _keys() as pressed, Live(console=console, screen=True, auto_refresh=False) as live:
        while not follower.view().is_over:
            width, height = console.size
            live.update(dashboard(follower.view(), width, height, hint), refresh=True)
            if pressed(INTERVAL) in ("q", "Q", "\x03"):
                return
            follower.news()


def _print_frame(console: Console, follower: JobFollower) -> None:
    width, height = console.size
    # Without a terminal there is no size to keep to: names have room, and graphs are not endless.
    size = (width, height - 1) if console.is_terminal else (min(width, _PIPED), 24)
    console.print(dashboard(follower.view(), *size))


def _print_lines(follower: JobFollower) -> None:
    with suppress(KeyboardInterrupt, BrokenPipeError):
        while True:
            for sample in follower.news():
                click.echo(encode(sample.values()))
            if follower.view().is_over:
                return
            time.sleep(INTERVAL)


def _no_key(seconds: float) -> str:
    time.sleep(seconds)
    return ""


@contextmanager
def _keys() -> Iterator[Callable[[float], str]]:
    """Lets keys be read one by one; gives a function that waits for one so many seconds."""
    if not sys.stdin.isatty():
        yield _no_key
        return
    import termios
    import tty

    def pressed(seconds: float) -> str:
        ready, _, _ = select.select([sys.stdin], [], [], seconds)
        return sys.stdin.read(1) if ready else ""

    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin)
        yield pressed
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
