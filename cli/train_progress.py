"""Progress of a training run on standard error: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from mlx_probe.core.language import tr
from mlx_probe.core.messages import translated
from mlx_probe.lab.train.progress import Silent, TrainProgress
from mlx_probe.report.terminal.plain import may_draw, plain

from .progress import LINE_INTERVAL

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["train_progress"]

# Weight of the newest step in the mean that is shown.
_NEWEST = 0.05
# A line with one of them is of an evaluation.
_EVALUATED = {"val_bpb", "val_reward"}


def train_progress(quiet: bool) -> TrainProgress:
    """The progress of a training run that suits standard error."""
    if quiet:
        return Silent()
    if may_draw():
        from rich.console import Console

        console = Console(stderr=True, highlight=False)
        if console.is_terminal:
            return _Bar(console)
    return _Lines()


class _Told:
    """What is said about the newest steps."""

    def __init__(self) -> None:
        self.loss = self.rate = self.bits = self.reward = self.held_out = None

    loss: float | None
    reward: float | None
    held_out: float | None
    rate: float | None
    bits: float | None

    def take(self, metrics: Mapping[str, Any]) -> None:
        """Take a line of metrics.jsonl."""
        self.loss = _mean(self.loss, metrics.get("train_loss"))
        self.rate = _mean(self.rate, metrics.get("tokens_per_second"))
        self.bits = metrics.get("val_bpb", self.bits)
        self.reward = _mean(self.reward, metrics.get("reward"))
        self.held_out = metrics.get("val_reward", self.held_out)

    @property
    def text(self) -> str:
        """Loss, rewards, bits per byte and speed."""
        parts = []
        if self.loss is not None:
            parts.append(tr("loss {loss}", loss=f"{self.loss:.3f}"))
        if self.reward is not None:
            parts.append(tr("reward {reward}", reward=f"{self.reward:.3f}"))
        if self.held_out is not None:
            parts.append(tr("held-out reward {reward}", reward=f"{self.held_out:.3f}"))
        if self.bits is not None:
            parts.append(tr("{bits} bits per byte", bits=f"{self.bits:.3f}"))
        if self.rate is not None:
            parts.append(tr("{rate} tokens/s", rate=f"{self.rate:,.0f}"))
        return tr(", ").join(parts)


def _mean(before: float | None, now: float | None) -> float | None:
    if before is None or now is None:
        return before if now is None else now
    return before + _NEWEST * (now - before)


def _title(facts: Mapping[str, Any]) -> str:
    text = tr(
        "{parameters} parameters, {tokens} tokens, {device}",
        parameters=f"{facts['parameters']:,}",
        tokens=f"{facts['planned_tokens']:,}",
        device=facts["device"],
    )
    if not facts["compiled"]:
        text += tr("; not compiled: {reason}", reason=translated(facts["compile_reason"]))
    return text


class _Bar(TrainProgress):
    """One line: share, time left, loss, bits per byte, tokens/s."""

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._progress = Progress(
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[told]}"),
            console=console,
            transient=True,
            # Its thread draws; a step only leaves its numbers.
            refresh_per_second=4,
        )
        self._told = _Told()
        self._task = self._progress.add_task("", total=None, told="")
        self._progress.start()

    def begin(self, facts: Mapping[str, Any], step: int, steps: int) -> None:
        self._progress.console.print(plain(_title(facts)), markup=False)
        self._progress.reset(self._task, total=steps, completed=step, told="")

    def phase(self, what: str, done: float = 0.0, total: float = 0.0) -> None:
        self._progress.update(self._task, told=translated(what))
        if total:
            self._progress.update(self._task, total=total, completed=done)

    def step(self, metrics: Mapping[str, Any]) -> None:
        self._told.take(metrics)
        self._progress.update(self._task, completed=metrics["step"], told=self._told.text)

    def sample(self, step: int, text: str) -> None:
        shown = tr("step {step}: {text}", step=step, text=text)
        self._progress.console.print(plain(shown), markup=False, style="dim")

    def alert(self, text: str, is_warning: bool) -> None:
        self._progress.console.print(plain(translated(text)), markup=False)

    def end(self) -> None:
        self._progress.stop()


class _Lines(TrainProgress):
    """A line now and then."""

    def __init__(self) -> None:
        self._told, self._steps, self._last = _Told(), 0, time.monotonic()
        self._what = ""

    def begin(self, facts: Mapping[str, Any], step: int, steps: int) -> None:
        self._steps, self._first, self._began = steps, step, time.monotonic()
        text = _title(facts)
        if step:
            text += tr("; goes on after step {step}", step=step)
        self._say(text)

    def phase(self, what: str, done: float = 0.0, total: float = 0.0) -> None:
        now = time.monotonic()
        if what == "evaluating" or (what == self._what and now - self._last < LINE_INTERVAL):
            return
        self._what, self._last = what, now
        self._say(f"{translated(what)}{f' {done / total:.0%}' if total else ''}")

    def step(self, metrics: Mapping[str, Any]) -> None:
        self._told.take(metrics)
        now, step = time.monotonic(), metrics["step"]
        if not _EVALUATED & metrics.keys() and now - self._last < LINE_INTERVAL:
            return
        self._last = now
        text = tr("step {step} of {steps}", step=step, steps=self._steps)
        left = (self._steps - step) * (now - self._began) / max(1, step - self._first)
        if step > self._first:
            text += tr(", {seconds} s left", seconds=f"{left:.0f}")
        self._say(tr(", ").join(filter(None, [text, self._told.text])))

    def sample(self, step: int, text: str) -> None:
        self._say(tr("step {step}: {text}", step=step, text=text))

    def alert(self, text: str, is_warning: bool) -> None:
        self._say(translated(text))

    def _say(self, text: str) -> None:
        # A reader such as `head` has seen enough: the run goes on.
        with suppress(OSError):
            click.echo(plain(text), err=True)
