"""What came out of a training run: how it ended, its best value, how fast it was."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mlx_probe.analysis.findings.finding import Text
from mlx_probe.analysis.findings.words import count, figure
from mlx_probe.core.median import median

if TYPE_CHECKING:
    import pandas as pd

    from mlx_probe.runs.training.run import TrainingRun

__all__ = ["Outcome", "outcome_of", "outcome_texts"]


@dataclass(frozen=True)
class Outcome:
    """Numbers of a training run; None where they are not known.

    Attributes:
        state: As of `TrainingRun`.
        steps_done: The last step with a line of metrics.
        planned_steps: Steps of the whole training.
        tokens: Tokens seen.
        seconds: Seconds of training.
        tokens_per_second: Median over the steps.
        train_loss: Median of the last steps, at most 50: one batch says little.
        best_bpb: Least bits per byte of the validation text.
        best_bpb_step: The step that has it.
        best_loss: Validation loss there, in nats a token.
        last_bpb: Bits per byte of the last evaluation.
        last_bpb_step: Its step.
        first_reward: Mean reward of held-out prompts before the first step.
        last_reward: The same at the last evaluation.
    """

    state: str
    steps_done: int
    planned_steps: int | None
    tokens: int | None
    seconds: float | None
    tokens_per_second: float | None
    train_loss: float | None
    best_bpb: float | None
    best_bpb_step: int | None
    best_loss: float | None
    last_bpb: float | None
    last_bpb_step: int | None
    first_reward: float | None = None
    last_reward: float | None = None


_LAST_STEPS = 50


def outcome_of(run: TrainingRun) -> Outcome:
    """The numbers of a training run, from its metrics."""
    metrics = run.metrics
    evaluated = metrics[np.isfinite(metrics["val_bpb"])] if "val_bpb" in metrics else metrics[:0]
    best = evaluated.loc[evaluated["val_bpb"].idxmin()] if len(evaluated) else None
    last = evaluated.iloc[-1] if len(evaluated) else None
    return Outcome(
        state=run.state,
        steps_done=run.steps_done,
        planned_steps=run.planned_steps,
        tokens=None if (tokens := _last(metrics, "tokens")) is None else int(tokens),
        seconds=_last(metrics, "seconds"),
        tokens_per_second=_median(metrics, "tokens_per_second"),
        train_loss=_median(metrics, "train_loss", _LAST_STEPS),
        best_bpb=None if best is None else float(best["val_bpb"]),
        best_bpb_step=None if best is None else int(best["step"]),
        best_loss=_number(best, "val_loss"),
        last_bpb=None if last is None else float(last["val_bpb"]),
        last_bpb_step=None if last is None else int(last["step"]),
        first_reward=_last(metrics[metrics["step"] == 0], "val_reward"),
        last_reward=_last(metrics[metrics["step"] > 0], "val_reward"),
    )


def outcome_texts(outcome: Outcome) -> Iterator[Text]:
    """How a run ended, its best value and its speed, in sentences."""
    steps = {"done": count(outcome.steps_done), "planned": count(outcome.planned_steps or 0)}
    if outcome.planned_steps is None:
        yield Text("{done} steps are done.", steps)
    else:
        yield _END[outcome.state](steps)
    if outcome.best_bpb is not None:
        values = {
            "bpb": f"{outcome.best_bpb:.4f}", "step": count(outcome.best_bpb_step or 0),
            "last": f"{outcome.last_bpb:.4f}",
        }  # fmt: skip
        if outcome.best_bpb_step == outcome.last_bpb_step:
            yield Text("Best validation: {bpb} bits per byte, at the last evaluation.", values)
        else:
            yield Text(
                "Best validation: {bpb} bits per byte at step {step}; the last evaluation has "
                "{last}.",
                values,
            )
    if outcome.first_reward is not None and outcome.last_reward is not None:
        yield Text(
            "Mean reward of held-out prompts: {first} before training, {last} at the last "
            "evaluation.",
            {"first": f"{outcome.first_reward:.4f}", "last": f"{outcome.last_reward:.4f}"},
        )
    if outcome.tokens is not None and outcome.tokens_per_second is not None:
        yield Text(
            "{tokens} tokens were seen, at a median of {rate} tokens a second.",
            {"tokens": count(outcome.tokens), "rate": figure(outcome.tokens_per_second)},
        )


_END = {
    "finished": lambda values: Text("All {planned} planned steps are done.", values),
    "stopped early": lambda values: Text(
        "Training stopped early after {done} of {planned} steps: the validation loss no longer "
        "improved.",
        values,
    ),
    "running": lambda values: Text(
        "Training is at work: {done} of {planned} steps are done so far.", values
    ),
    "interrupted": lambda values: Text(
        "Training ended after {done} of {planned} steps; the same command goes on from its last "
        "checkpoint.",
        values,
    ),
}


def _known(metrics: pd.DataFrame, name: str) -> NDArray[np.float64]:
    """The finite values of a column that the metrics may lack."""
    if name not in metrics:
        return np.empty(0)
    values = metrics[name].to_numpy(np.float64)
    finite: NDArray[np.float64] = values[np.isfinite(values)]
    return finite


def _median(metrics: pd.DataFrame, name: str, last: int = 0) -> float | None:
    """Of a column's finite values, or of so many last ones; None without any."""
    known = _known(metrics, name)[-last:]
    return float(median(known)) if len(known) else None


def _last(metrics: pd.DataFrame, name: str) -> float | None:
    known = _known(metrics, name)
    return float(known[-1]) if len(known) else None


def _number(row: pd.Series[float] | None, name: str) -> float | None:
    return float(row[name]) if row is not None and name in row and np.isfinite(row[name]) else None
