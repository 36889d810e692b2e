"""What a tuning makes better: what its steps, its batches and its evaluations are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlx.core as mx
import mlx.nn as nn
from mlx.optimizers import MultiOptimizer

from mlx_probe.lab.train.step import LossOf, MakeStep, TrainStep
from mlx_probe.lab.tune.adapters import Adapters
from mlx_probe.lab.tune.batches import Batch, BatchOrder, training_batches, validation_batches
from mlx_probe.lab.tune.config import TuneRecipe
from mlx_probe.lab.tune.evaluation import AnswerEvaluator
from mlx_probe.lab.tune.example import Examples
from mlx_probe.lab.tune.loss import AnswerNats, learned_tokens

if TYPE_CHECKING:
    from mlx_probe.lab.train.loop import Evaluate
    from mlx_probe.lab.train.machine import Machine
    from mlx_probe.lab.train.state import TrainState
    from mlx_probe.lab.tune.begin import Beginning

__all__ = ["Objective", "Setting", "answer_loss", "learn_answers", "make_step"]


@dataclass(frozen=True)
class Setting:
    """What an objective is made of.

    Attributes:
        recipe: All settings.
        began: Model, adapters and conversations.
        optimizer: With its state.
        machine: What computes.
        state: How far the run is.
        folder: Of the run.
    """

    recipe: TuneRecipe
    began: Beginning
    optimizer: MultiOptimizer
    machine: Machine
    state: TrainState
    folder: Path

    @property
    def model(self) -> nn.Module:
        """The weights."""
        return self.began.loaded.model


@dataclass(frozen=True)
class Objective:
    """What `Loop` needs to know of it; see there.

    Attributes:
        step: Makes a step.
        evaluate: Evaluates the model.
        batches: What the steps learn from, from the state's position on.
        validation: What is evaluated with.
        tokens_of: Tokens of an entry of ``batches``.
        to_device: Makes of such an entry what the step takes.
        result: What the metadata say of it, after the last step.
    """

    step: MakeStep
    evaluate: Evaluate
    batches: Iterator[Any]
    validation: Callable[[], Iterable[Any]]
    tokens_of: Callable[[Any], int]
    to_device: Callable[[Any], Any]
    result: Callable[[], dict[str, Any]] = dict


def learn_answers(setting: Setting, examples: Examples) -> Objective:
    """Make the assistant's tokens more likely.

    Args:
        setting: The tuning.
        examples: With the answers.
    """
    recipe, config, network = setting.recipe, setting.recipe.train, setting.model
    nats, compiled = AnswerNats(network), setting.machine.compiled
    multiple = recipe.data.bucket
    order = BatchOrder([len(e.tokens) for e in examples.train], config.batch, config.seed)
    token_bytes = setting.began.loaded.tokenizer.token_bytes()

    loss = answer_loss(nats, setting.began.adapters)
    return Objective(
        step=make_step(setting, loss, learned_tokens),
        evaluate=AnswerEvaluator(network, nats, token_bytes, compiled),
        batches=training_batches(examples.train, order, setting.state.position, multiple),
        validation=lambda: validation_batches(
            examples.valid, config.batch, multiple, config.evaluation_tokens
        ),
        tokens_of=lambda batch: batch.read,
        to_device=Batch.to_device,
    )


def answer_loss(nats: AnswerNats, adapters: Adapters) -> LossOf:
    """Nats of a batch's answers, with other numbers dropped in each step.

    Args:
        nats: Of the model.
        adapters: In which numbers are dropped.
    """

    def loss(model: nn.Module, batch: Mapping[str, mx.array]) -> mx.array:
        # They stay until the next step: checkpointed blocks are computed again after this returns.
        adapters.draw(model.training)
        return nats.total(model, batch)

    return loss


def make_step(setting: Setting, loss: LossOf, divisor: Callable[[Any], int]) -> TrainStep:
    """The step of a loss.

    Args:
        setting: The tuning.
        loss: Of a micro-batch.
        divisor: What the sum of the micro-batches' losses is divided by.
    """
    machine = setting.machine
    return TrainStep(
        setting.model,
        setting.optimizer,
        setting.recipe.train,
        machine.number_type,
        machine.compiled,
        loss=loss,
        divisor=divisor,
    )
