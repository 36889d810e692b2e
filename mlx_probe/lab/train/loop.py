"""The loop: step by step, with evaluations, samples, snapshots and checkpoints in between."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx.optimizers import MultiOptimizer
from mlx.utils import tree_flatten
from numpy.typing import NDArray

from mlx_probe.core.errors import Interrupted, ProbeError, Stopped
from mlx_probe.core.language import tr
from mlx_probe.lab.train.config import TrainConfig
from mlx_probe.lab.train.optimizer import set_decays
from mlx_probe.lab.train.progress import TrainProgress
from mlx_probe.lab.train.state import TrainState
from mlx_probe.lab.train.step import MakeStep, NotFinite
from mlx_probe.lab.train.step_lines import StepLines
from mlx_probe.lab.train.stopping import StopRequest
from mlx_probe.runs.job import Job

__all__ = ["DecayPolicy", "Diverged", "Evaluate", "Loop", "Snapshots"]

_log = logging.getLogger(__name__)


class Snapshots(Protocol):
    """Keeps the weights of some steps."""

    def due(self, step: int, is_last: bool) -> bool:
        """Whether the weights after a step are kept; training may end before the planned one."""

    def keep(self, step: int, weights: Mapping[str, mx.array]) -> None:
        """Keep them."""


class Found(Protocol):
    """What an evaluation finds."""

    @property
    def loss(self) -> float:
        """What is to become small."""

    @property
    def values(self) -> dict[str, float]:
        """For metrics.jsonl."""

    def is_better(self, best: Mapping[str, Any]) -> bool:
        """Whether it is better than the values of another one."""


# Given the validation batches and what to call before each, evaluates the model.
Evaluate = Callable[[Iterable[Any], Callable[[], None]], Found]


class DecayPolicy(Protocol):
    """Sets the weight decay of each matrix anew at some steps."""

    def due(self, step: int) -> bool:
        """Whether the decays change after a step."""

    def multipliers(self, weights: Mapping[str, mx.array]) -> Mapping[str, float]:
        """Multipliers of the weight decay by the weights' names."""


class Diverged(ProbeError):  # noqa: N818  what happened to the training
    """Loss, gradient or validation loss is no finite number any more."""


def _predicted(batch: NDArray[np.integer]) -> int:
    """Every token but the first of a row."""
    return batch[:, 1:].size


def _advice(checkpoint: Path) -> str:
    return (
        "Lower train.learning_rate and train.muon_learning_rate, or raise train.warmup, and "
        f"train again with another --out; --init {checkpoint} goes on from these weights"
    )


@dataclass
class Loop:
    """Everything that the steps need, and how far they are.

    Attributes:
        config: The training.
        job: Its monitor can pause and stop the run.
        model: The weights.
        optimizer: Their optimizer.
        step: Makes a step.
        evaluate: Evaluates the model.
        batches: Micro-batches from the state's position on.
        validation: Gives the validation batches, from the first one.
        sample: Writes a text after a number of steps; None without samples.
        metrics: Gets a line for each step.
        samples: Gets a line for each sample; None without samples.
        save: Writes a checkpoint of the state.
        snapshots: Keeps weights; None for none.
        policy: Sets weight decays; None for none.
        progress: Follows the run.
        state: How far it is.
        flops_per_token: Operations of a step for each token.
        processes: How many share each batch; `batches` are the rows of this one.
        tokens_of: Tokens that a micro-batch predicts.
        to_device: Makes of a micro-batch what the step takes.
        advice: What to do after numbers that are not finite, given the last good checkpoint.
    """

    config: TrainConfig
    job: Job
    model: nn.Module
    optimizer: MultiOptimizer
    step: MakeStep
    evaluate: Evaluate
    batches: Iterator[Any]
    validation: Callable[[], Iterable[Any]]
    sample: Callable[[int], str] | None
    metrics: StepLines
    samples: StepLines | None
    save: Callable[[], Path]
    snapshots: Snapshots | None
    policy: DecayPolicy | None
    progress: TrainProgress
    state: TrainState
    flops_per_token: float = 0.0
    processes: int = 1
    tokens_of: Callable[[Any], int] = _predicted
    to_device: Callable[[Any], Any] = mx.array
    advice: Callable[[Path], str] = _advice

    def run(self, stop: StopRequest) -> None:
        """Make all steps that are left, or stop early where the configuration says so.

        Args:
            stop: Whether the user wants the run to stop.

        Raises:
            Diverged: A number is not finite; the last good weights are in a checkpoint.
            Interrupted: The user wanted it; the last step is in a checkpoint.
            Stopped: A rule of the monitor stopped it; the same.
            ResultError: The disk refused; the checkpoints before are whole.
        """
        state, clock = self.state, self.job.meter.gate.clock
        self._since, self._stop = clock(), stop
        try:
            # Step 0 is evaluated, or the step whose evaluation was interrupted.
            self._finish_step()
            while state.step < self.config.steps and not self.stopped_early:
                self.wait()
                began = clock()
                with self.job.meter.stage("load"):
                    batches = [next(self.batches) for _ in range(self.config.accumulation)]
                size = self.processes * sum(map(self.tokens_of, batches))
                flops = self.flops_per_token * size / self.processes
                with self.job.meter.stage("step", flops=flops):
                    result = self.step(state.step + 1, [self.to_device(batch) for batch in batches])
                state.step += 1
                state.position += len(batches)
                state.tokens += size
                state.pending = {
                    "step": state.step,
                    "tokens": state.tokens,
                    "train_loss": result.loss,
                    "learning_rate": result.learning_rate,
                    "grad_norm": result.grad_norm,
                    **result.more,
                    "tokens_per_second": size / (clock() - began),
                }
                self._finish_step()
        except NotFinite as error:
            raise self._diverged(state.step + 1, error.what, error.value) from error
        except (Interrupted, Stopped) as error:
            self._count_seconds()
            folder = self.save()
            _log.warning("stopped after step %d, saved in %s", state.step, folder)
            raise error

    @property
    def stopped_early(self) -> bool:
        """Whether so many evaluations brought nothing better that training stops."""
        return 0 < self.config.patience <= self.state.stale

    def wait(self) -> None:
        """Wait while the monitor pauses the run; end it where monitor or user want that."""
        if self._stop.signal is not None:
            raise self._stop.error(f"interrupted after step {self.state.step}, which is saved")
        self.job.meter.gate.wait()

    def _finish_step(self) -> None:
        """Everything that comes after the update of a step."""
        state, config = self.state, self.config
        metrics, step = state.pending, state.step
        if metrics is None:
            return
        is_last = step == config.steps
        if step % config.evaluate_every == 0 or is_last:
            metrics = {**metrics, **self._evaluated()}
        self._count_seconds()
        metrics = {**metrics, "seconds": state.seconds}
        with self.job.meter.stage("record"):
            self.metrics.append(metrics)
        state.pending = None
        if self.sample is not None and (step % config.sample_every == 0 or is_last):
            self._write_sample(step)
        ends = is_last or self.stopped_early
        if self.snapshots is not None and self.snapshots.due(step, ends):
            with self.job.meter.stage("record"):
                self.snapshots.keep(step, self._weights())
        if self.policy is not None and self.policy.due(step):
            set_decays(self.optimizer, self.policy.multipliers(self._weights()))
        if step > 0 and (step % config.checkpoint_every == 0 or ends):
            with self.job.meter.stage("checkpoint"):
                self.save()
        if step > 0:
            self.job.progress.finish([step - 1])
        self.job.progress.what = _told(metrics, config.steps)
        self.progress.step(metrics)

    def _evaluated(self) -> dict[str, float]:
        """Metrics of an evaluation; notes whether it is the best."""
        state = self.state
        self.progress.phase("evaluating")
        with self.job.meter.stage("evaluate"):
            found = self.evaluate(self.validation(), self.wait)
        if not math.isfinite(found.loss):
            raise self._diverged(state.step, "validation loss", found.loss)
        values = found.values
        state.latest = {"step": state.step, **values}
        if state.best is None or found.is_better(state.best):
            state.best, state.stale = state.latest, 0
        else:
            state.stale += 1
        told = ", ".join(f"{name} {value:.4f}" for name, value in values.items())
        _log.info("step %d: %s", state.step, told)
        return values

    def _write_sample(self, step: int) -> None:
        assert self.sample is not None
        assert self.samples is not None
        with self.job.meter.stage("sample"):
            text = self.sample(step)
        line = {"step": step, "prompt": self.config.sample_prompt, "text": text}
        self.samples.append(line)
        self.progress.sample(step, text)

    def _diverged(self, step: int, what: str, value: float) -> Diverged:
        folder = self.save()
        return Diverged(
            f"step {step}: the {what} is {value}; the weights of step {self.state.step}, "
            f"the last good ones, are saved in {folder}",
            self.advice(folder),
        )

    def _count_seconds(self) -> None:
        now = self.job.meter.gate.clock()
        self.state.seconds += now - self._since
        self._since = now

    def _weights(self) -> dict[str, mx.array]:
        weights: dict[str, mx.array] = dict(tree_flatten(self.model.parameters()))
        mx.eval(weights)
        return weights


def _told(metrics: Mapping[str, Any], steps: int) -> str:
    """A step in a line, for followers of the job."""
    text = tr("step {step} of {steps}", step=metrics["step"], steps=steps)
    if "train_loss" in metrics:
        text += tr(
            ", loss {loss}, {rate} tokens/s",
            loss=f"{metrics['train_loss']:.3f}",
            rate=f"{metrics['tokens_per_second']:,.0f}",
        )
    return text
