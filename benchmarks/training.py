"""Throughput of training, against mlx-lm's own trainer and against the bare compiled step.

    python benchmarks/training.py [--config FILE] [--data TEXT] [--set KEY=VALUE]... [--steps 60]
                                  [--runs 3]

The same model, batch, length, weights and device for all, in turn in one process; figures are
medians over the runs, and the first steps of a run are not counted. mlx-lm loads the model that our
run wrote and trains all of its weights; it does not clip. A bare step is forward, backward, MLX's
own clipping and optimizer in one compiled function on batches that are in memory; one follows each
step of another run of ours. What ours takes above it is loading, the look at loss and norm before
the update, metrics, progress: the median over the pairs.

Exit code 1 if ours is slower than mlx-lm's, or if more than 3 % of a step is not forward, backward
or optimizer.
"""

from __future__ import annotations

import io
import json
import math
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any, Literal, cast
from unittest.mock import patch

import click
from _results import Cell, out_option, publish, rounded
from _training import CONFIGS, recipe_of, tokenized

from mlx_probe.lab.data.loader import Loader, TokenStream
from mlx_probe.lab.device import device_label, use_device
from mlx_probe.lab.model.exponential import fused
from mlx_probe.lab.model.initialize import initialize
from mlx_probe.lab.model.mini_llm import MiniLLM
from mlx_probe.lab.train.config import Recipe
from mlx_probe.lab.train.loss import next_token_nats
from mlx_probe.lab.train.optimizer import make_optimizer
from mlx_probe.lab.train.step import StepResult, TrainStep
from mlx_probe.lab.train.train import train

# After what loads a BLAS for it.
import mlx.core as mx  # isort: skip
import mlx.nn as nn  # isort: skip
import mlx_lm  # isort: skip
from mlx.optimizers import AdamW, clip_grad_norm  # isort: skip
from mlx_lm.tuner.trainer import TrainingArgs  # isort: skip
from mlx_lm.tuner.trainer import train as train_by_mlx_lm  # isort: skip

# Steps between two reports of mlx-lm's trainer (its default), and those that are not counted.
REPORT = 10
LARGEST_SHARE = 0.03
COLUMNS = (
    *("optimizer", "way", "tokens/s", "of mlx-lm's"),
    "outside of forward, backward and optimizer",
)


def ours(recipe: Recipe, tokens: Path, out: Path) -> float:
    """Tokens a second of `mlx-probe train`."""
    train(recipe, out, data=[tokens])
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text("utf-8").splitlines()]
    # The last step is followed by an evaluation and a checkpoint.
    first, last = lines[REPORT], lines[-2]
    return float((last["tokens"] - first["tokens"]) / (last["seconds"] - first["seconds"]))


def bare_step(recipe: Recipe, tokens: Path) -> Callable[[], None]:
    """Makes a step of forward, backward, clipping and optimizer alone, on batches in memory."""
    config = recipe.train
    model = MiniLLM(recipe.model)
    initialize(model, config.seed)
    optimizer = make_optimizer(config, model)
    state = [model.state, optimizer.state]

    def plain(batch: mx.array) -> mx.array:
        loss, gradients = nn.value_and_grad(
            model, lambda rows: next_token_nats(model, rows).mean()
        )(batch)
        if config.clip:
            gradients, _ = clip_grad_norm(gradients, config.clip)
        optimizer.update(model, gradients)
        return cast(mx.array, loss)

    step = fused(plain, inputs=state, outputs=state)
    loader = Loader(TokenStream(tokens, "train"), config.batch, recipe.model.context, config.seed)
    batches = [mx.array(loader.batch_at(i)) for i in range(config.steps)]
    mx.eval(batches)
    numbers = count()

    def make() -> None:
        mx.eval(step(batches[next(numbers) % len(batches)]), state)

    return make


def beside_bare(recipe: Recipe, tokens: Path, out: Path) -> list[tuple[float, float]]:
    """Seconds of each step of `mlx-probe train`, and of a bare step right after it.

    Ours is from the end of one bare step to the begin of the next: with loading, metrics and
    progress. Its update is waited for, so that nothing of it hides behind the host's work.
    """
    bare = bare_step(recipe, tokens)
    bare()
    of_trainer = TrainStep.__call__
    pairs, ended = [], [time.perf_counter()]

    def beside(self: TrainStep, step: int, batches: Sequence[mx.array]) -> StepResult:
        result = of_trainer(self, step, batches)
        mx.eval(self._model.parameters(), self._optimizer.state)
        between = time.perf_counter()
        bare()
        now = time.perf_counter()
        pairs.append((between - ended[0], now - between))
        ended[0] = now
        return result

    with patch.object(TrainStep, "__call__", beside):
        train(recipe, out, data=[tokens])
    return pairs[REPORT:]


class Clock:
    """Notes when mlx-lm's trainer reports."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_train_loss_report(self, report: dict[str, Any]) -> None:
        """After each `REPORT` steps."""
        self.times.append(time.perf_counter())

    def on_val_loss_report(self, report: dict[str, Any]) -> None:
        """Never: there are no validation texts."""


def by_mlx_lm(recipe: Recipe, tokens: Path, model_folder: Path, folder: Path) -> float:
    """Tokens a second of mlx-lm's trainer, with all weights of the model."""
    config, context = recipe.train, recipe.model.context
    with redirect_stdout(io.StringIO()):
        model = mlx_lm.load(str(model_folder))[0]
    loader = Loader(TokenStream(tokens, "train"), config.batch, context, config.seed)
    rows = [(row, 0) for i in range(config.steps) for row in loader.batch_at(i).tolist()]
    optimizer = AdamW(
        config.learning_rate, [config.beta1, config.beta2], config.epsilon, config.weight_decay,
        bias_correction=True,
    )  # fmt: skip
    arguments = TrainingArgs(
        batch_size=config.batch,
        iters=config.steps,
        steps_per_report=REPORT,
        steps_per_save=2 * config.steps,
        max_seq_length=context + 1,
        adapter_file=str(folder / "adapters.safetensors"),
    )
    clock = Clock()
    with redirect_stdout(io.StringIO()):
        train_by_mlx_lm(model, optimizer, rows, args=arguments, training_callback=clock)
    counted = (len(clock.times) - 1) * REPORT * config.batch * context
    return counted / (clock.times[-1] - clock.times[0])


@click.command(help=__doc__)
@click.option(
    "--config", type=click.Path(path_type=Path), default=CONFIGS / "shakespeare.yaml",
    show_default="configs/train/shakespeare.yaml",
)  # fmt: skip
@click.option("--data", help="Text in the place of the recipe's.")
@click.option("--set", "changes", multiple=True, help="Changes of the recipe.")
@click.option(
    "--optimizer", "optimizers", type=click.Choice(["adamw", "muon"]), multiple=True,
    default=["adamw", "muon"], show_default="both",
)  # fmt: skip
@click.option("--steps", type=click.IntRange(3 * REPORT), default=60, show_default=True)
@click.option("--runs", type=click.IntRange(1), default=3, show_default=True)
@out_option
def main(
    config: Path,
    data: str | None,
    changes: tuple[str, ...],
    optimizers: tuple[Literal["adamw", "muon"], ...],
    steps: int,
    runs: int,
    out: Path,
) -> None:
    """Measure all ways, and publish."""
    use_device("auto")
    fixed = [
        f"train.steps={steps}", f"train.evaluate_every={steps}", f"train.checkpoint_every={steps}",
        "train.evaluation_tokens=1", "train.warmup=1", "train.sample_every=0",
        "train.compile=always", "snapshots.per_decade=0",
    ]  # fmt: skip
    rates: dict[tuple[str, str], list[float]] = {}
    pairs: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recipe = recipe_of(config, [*changes, *fixed])
        tokens = tokenized(recipe, data, folder / "tokens")
        for number in range(runs):
            for optimizer in optimizers:
                how = replace(recipe.train, optimizer=optimizer)
                chosen = replace(recipe, train=how)
                run = folder / f"{optimizer}-{number}"
                ways = {"mlx-probe train": partial(ours, chosen, tokens, run)}
                if optimizer == "adamw":
                    ways["mlx-lm"] = partial(by_mlx_lm, chosen, tokens, run / "model", folder)
                for way, measure in ways.items():
                    rates.setdefault((optimizer, way), []).append(measure())
                beside = run.with_name(f"{run.name}-beside")
                pairs.setdefault(optimizer, []).extend(beside_bare(chosen, tokens, beside))
    middle = {key: median(values) for key, values in rates.items()}
    shares = {
        optimizer: median(1 - bare / whole for whole, bare in both)
        for optimizer, both in pairs.items()
    }
    other = middle.get(("adamw", "mlx-lm"), math.nan)
    rows: list[list[Cell]] = [
        [
            optimizer,
            way,
            round(rate),
            rounded(rate / other) if optimizer == "adamw" else None,
            f"{100 * shares[optimizer]:.1f} %" if way == "mlx-probe train" else None,
        ]
        for (optimizer, way), rate in middle.items()
    ]
    note = (
        f"{config.name}, {steps} steps of {recipe.train.batch} x {recipe.model.context} tokens on "
        f"{device_label()}, medians of {runs} runs in turn; mlx-lm {mlx_lm.__version__}. The share "
        "is the median over pairs of a step and a bare one."
    )
    publish("training", COLUMNS, rows, note, out)
    slower = middle.get(("adamw", "mlx-probe train"), math.nan) < other
    sys.exit(1 if slower or max(shares.values()) > LARGEST_SHARE else 0)


if __name__ == "__main__":
    main()
