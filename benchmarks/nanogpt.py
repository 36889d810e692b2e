"""Our recipe against nanoGPT's: bits per byte on the same held-out plays, with equal work.

    python benchmarks/nanogpt.py [--seeds 3] [--iterations 2000] [--config FILE] [--data TEXT]
                                 [--set KEY=VALUE]... [--no-seconds]

Both train on the same documents and are evaluated on the same others. nanoGPT's recipe
(`_nanogpt.py`) makes its 2,000 iterations; `mlx-probe train` makes as many steps as take the same
operations in matrix products, those of Muon included, with its schedule scaled to them. Then, for
equal seconds, nanoGPT's recipe makes as many iterations as its rate allows in the seconds of our
steps. torch has vectorized elementwise functions on x86 and MLX has none: equal seconds compare two
libraries, equal operations compare two recipes. For the seconds nothing else should run.

Exit code 1 if our mean is not at least 8 % lower with equal operations.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import click
import torch
from _nanogpt import NanoRecipe, bits_per_byte, encoded, flops_per_token, train
from _results import Cell, out_option, publish, rounded
from _training import CONFIGS, flops_per_step, interval, recipe_of, tokenized, trained

from mlx_probe.lab.data.loader import TokenStream
from mlx_probe.lab.data.manifest import SplitName
from mlx_probe.lab.data.tokenizer import load_tokenizer

LIMIT = 0.92
COLUMNS = (
    *("recipe", "steps", "tokens", "TFLOP", "seconds of steps"),
    *("bits per byte", "+- (95 %)", "of nanoGPT's"),
)


def text_of(tokens: Path, split: SplitName) -> str:
    """The documents of a split, one after the other, from their tokens."""
    tokenizer, stream = load_tokenizer(tokens / "tokenizer"), TokenStream(tokens, split)
    return tokenizer.decode(
        [t for t in stream.read(0, len(stream)).tolist() if t != tokenizer.eos_id]
    )


def nano_runs(recipe: NanoRecipe, texts: tuple[str, str], seeds: int) -> tuple[list[float], float]:
    """Bits per byte of each seed, and the mean seconds of training."""
    training, validation, _ = encoded(*texts)
    found, seconds = [], 0.0
    for seed in range(seeds):
        began = time.perf_counter()
        model = train(recipe, training, seed)
        seconds += time.perf_counter() - began
        size = len(texts[1].encode())
        found.append(bits_per_byte(model, recipe, validation, size))
    return found, seconds / seeds


@click.command(help=__doc__)
@click.option("--seeds", type=click.IntRange(2, 10), default=3, show_default=True)
@click.option("--iterations", type=click.IntRange(1), default=2000, show_default=True)
@click.option(
    "--config", type=click.Path(path_type=Path), default=CONFIGS / "shakespeare.yaml",
    show_default="configs/train/shakespeare.yaml",
)  # fmt: skip
@click.option("--data", help="Text in the place of the recipe's.")
@click.option("--set", "changes", multiple=True, help="Changes of our recipe.")
@click.option("--seconds/--no-seconds", default=True, help="Whether equal seconds follow.")
@out_option
def main(
    seeds: int,
    iterations: int,
    config: Path,
    data: str | None,
    changes: tuple[str, ...],
    seconds: bool,
    out: Path,
) -> None:
    """Train all, and publish."""
    ours = recipe_of(config, changes)
    with tempfile.TemporaryDirectory() as folder:
        tokens = tokenized(ours, data, Path(folder) / "tokens")
        texts = text_of(tokens, "train"), text_of(tokens, "validation")
        nano = NanoRecipe(encoded(*texts)[2], iterations)
        budget = flops_per_token(nano) * nano.tokens
        batch = ours.train.batch * ours.train.accumulation * ours.model.context
        step = flops_per_step(ours)
        steps = budget // step
        runs = [
            trained(
                config,
                [*changes, f"train.steps={steps}", f"train.seed={seed}", "snapshots.per_decade=0",
                 f"train.evaluate_every={steps}", f"train.checkpoint_every={steps}",
                 "train.evaluation_tokens=0"],
                tokens,
                Path(folder) / f"run-{seed}",
            )
            for seed in range(seeds)
        ]  # fmt: skip
    nano_found, nano_seconds = nano_runs(nano, texts, seeds)
    our_found = [one.bits_per_byte for one in runs]
    our_seconds = sum(one.seconds for one in runs) / seeds
    base, _ = interval(nano_found)

    def row(
        name: str, made: int, size: int, work: int, took: float, found: list[float]
    ) -> list[Cell]:
        mean, half = interval(found)
        figures = (work / 1e12, took, mean, half, mean / base)
        return [name, made, size, *(rounded(figure, 4) for figure in figures)]

    rows = [
        row("nanoGPT's", iterations, nano.tokens, budget, nano_seconds, nano_found),
        row(f"ours ({config.name})", steps, steps * batch, steps * step, our_seconds, our_found),
    ]
    if seconds:
        longer = NanoRecipe(nano.vocabulary, max(1, round(iterations * our_seconds / nano_seconds)))
        found, took = nano_runs(longer, texts, seeds)
        work = flops_per_token(longer) * longer.tokens
        rows.append(
            row("nanoGPT's, our seconds", longer.iterations, longer.tokens, work, took, found)
        )
    note = (
        f"Means over {seeds} seeds, with the 95 % interval of the mean by Student's t. A token of "
        f"nanoGPT's is a character; TFLOP are those of matrix products. torch {torch.__version__}, "
        f"{torch.get_num_threads()} threads. Equal seconds compare torch, which vectorizes "
        "exponentials on x86, with MLX, which does not there."
    )
    publish("nanogpt", COLUMNS, rows, note, out)
    mean, _ = interval(our_found)
    sys.exit(0 if mean <= LIMIT * base else 1)


if __name__ == "__main__":
    main()
