"""The share of the rate of matrix products that training steps reach.

    python benchmarks/efficiency.py [--steps 5] [--out DIR]

Models of 1, 5 and 15 million parameters, with Muon. The rate of products in the model's own sizes,
a step operation by operation and a compiled step are timed in turn, so that what else the machine
does slows all of them alike; a share is that of one turn, and figures are medians over the turns.
`mlx-probe plan train` expects the time of a training by these shares.
"""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median

import click
import numpy as np
from _results import Cell, out_option, publish

from mlx_probe.lab.device import device_label, use_device
from mlx_probe.lab.model.config import ModelConfig
from mlx_probe.lab.model.count import parameters, training_flops_per_token
from mlx_probe.lab.model.initialize import initialize
from mlx_probe.lab.model.mini_llm import MiniLLM
from mlx_probe.lab.train.config import TrainConfig
from mlx_probe.lab.train.optimizer import make_optimizer
from mlx_probe.lab.train.rate import product_rate
from mlx_probe.lab.train.step import TrainStep

# After what loads a BLAS for it.
import mlx.core as mx  # isort: skip

MODELS = (
    ModelConfig(dim=128, layers=4, heads=2, kv_heads=1, hidden=352, vocabulary=1024, context=128),
    ModelConfig(dim=256, layers=6, heads=4, kv_heads=2, hidden=704, vocabulary=2048, context=128),
    ModelConfig(dim=384, layers=8, heads=6, kv_heads=2, hidden=960, vocabulary=8192, context=128),
)
TRAINING = TrainConfig(batch=8)
COLUMNS = ("parameters, million", "products, GFLOP/s", "step, % of it", "compiled step, % of it")


def steps_of(config: ModelConfig, compiled: bool) -> TrainStep:
    """Makes steps of a new model."""
    model = MiniLLM(config)
    initialize(model, 0)
    optimizer = make_optimizer(TRAINING, model)
    return TrainStep(model, optimizer, TRAINING, mx.float32, compiled)


def seconds_of(step: TrainStep, number: int, tokens: mx.array) -> float:
    """Time of a step, its update included."""
    began = time.perf_counter()
    step(number, [tokens])
    mx.synchronize()
    return time.perf_counter() - began


def measured(config: ModelConfig, turns: int) -> list[Cell]:
    """A row of the table."""
    rng = np.random.default_rng(0)
    shape = (TRAINING.batch, config.context + 1)
    tokens = mx.array(rng.integers(0, config.vocabulary, shape).astype(np.uint16))
    count = TRAINING.batch * config.context
    flops = training_flops_per_token(config) * count
    ways = [steps_of(config, compiled) for compiled in (False, True)]
    for step in ways:
        seconds_of(step, 1, tokens)
    rates: list[float] = []
    shares: tuple[list[float], list[float]] = ([], [])
    for turn in range(turns):
        rates.append(product_rate(config, count))
        for step, share in zip(ways, shares, strict=True):
            share.append(flops / seconds_of(step, 2 + turn, tokens) / rates[-1])
    percent = [round(100 * median(share), 1) for share in shares]
    return [round(parameters(config) / 1e6, 1), round(median(rates) / 1e9, 1), *percent]


@click.command(help=__doc__)
@click.option("--steps", type=click.IntRange(1), default=5, show_default=True)
@click.option("--models", type=click.IntRange(1, len(MODELS)), default=len(MODELS))
@out_option
def main(steps: int, models: int, out: Path) -> None:
    """Measure and publish."""
    use_device("auto")
    rows = [measured(config, steps) for config in MODELS[:models]]
    note = (
        f"{TRAINING.batch} x 128 tokens on {device_label()}; medians of {steps} turns of rate, "
        "step and compiled step."
    )
    publish("efficiency", COLUMNS, rows, note, out)


if __name__ == "__main__":
    main()
