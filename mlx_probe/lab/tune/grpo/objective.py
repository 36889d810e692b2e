"""GRPO, put together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from typing import Any

import mlx.core as mx

from mlx_probe.lab.rewards.sandbox import BUILT_IN, Sandbox
from mlx_probe.lab.rewards.total import make_judge
from mlx_probe.lab.train.step import StepResult
from mlx_probe.lab.tune.grpo.evaluation import RewardEvaluator, reward_record
from mlx_probe.lab.tune.grpo.loss import grpo_loss
from mlx_probe.lab.tune.grpo.prompts import Prompts
from mlx_probe.lab.tune.grpo.rollouts import Player
from mlx_probe.lab.tune.grpo.rounds import Round, Rounds
from mlx_probe.lab.tune.grpo.scoring import Scorer
from mlx_probe.lab.tune.grpo.store import RolloutStore
from mlx_probe.lab.tune.loss import AnswerNats
from mlx_probe.lab.tune.objective import Objective, Setting, make_step

__all__ = ["learn_rewards"]


def learn_rewards(
    setting: Setting,
    prompts: Prompts,
    reference: Mapping[str, mx.array],
    stack: ExitStack,
    drawing: Callable[[], AbstractContextManager[object]],
    wait: Callable[[], None],
) -> Objective:
    """Make answers with larger rewards more likely.

    Args:
        setting: The tuning.
        prompts: What is asked.
        reference: What is learned, as it was before tuning, by name.
        stack: Ends the process that executes calls, if there is one.
        drawing: See `Rounds`.
        wait: See `Rounds`.

    Raises:
        ConfigError: A reward is unknown, or functions cannot be registered.
    """
    recipe, grpo, network = setting.recipe, setting.recipe.grpo, setting.model
    run = None
    if grpo.registered:
        table = BUILT_IN if grpo.registered == "built-in" else grpo.registered
        run = stack.enter_context(Sandbox(table)).run
    nats, loaded = AnswerNats(network, grpo.temperature), setting.began.loaded
    player = Player(
        network, loaded.tokenizer, loaded.stops, make_judge(grpo.weights), run, grpo.answer_tokens
    )
    store = RolloutStore(setting.folder)
    scorer = Scorer(network, nats, setting.machine.number_type)
    rounds = Rounds(recipe, prompts.train, player, scorer, reference, store, drawing, wait)
    learn = make_step(setting, grpo_loss(nats, grpo), _answers)

    def step(number: int, batches: Sequence[Round]) -> StepResult:
        (round_,) = batches
        made = learn(number, [batch.to_device() for batch in round_.batches])
        return replace(made, more=round_.metrics(grpo.group))

    held_out = prompts.valid[: grpo.evaluation_prompts or None]

    def result() -> dict[str, Any]:
        latest = setting.state.latest or {}
        return {"reward": reward_record(store, latest["step"], recipe.train.seed)}

    return Objective(
        step=step,
        evaluate=RewardEvaluator(player, store, lambda: setting.state.step),
        batches=rounds.after(setting.state.step),
        validation=lambda: held_out,
        tokens_of=lambda round_: round_.read,
        to_device=lambda round_: round_,
        result=result,
    )


def _answers(batches: Sequence[Mapping[str, mx.array]]) -> int:
    """Answers in some micro-batches: each has a row."""
    return sum(len(batch["tokens"]) for batch in batches)
