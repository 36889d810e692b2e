"""Weight decay by the power-law exponent (AlphaDecay) against plain decays and against none.

    python benchmarks/alpha_decay.py [--config FILE] [--data TEXT] [--set KEY=VALUE]...
                                     [--steps 300] [--decay 0.1] [--seeds 3]

Each seed has the same data order and first weights in all ways; differences are taken seed by
seed, with the 95 % interval of their mean by Student's t. The result is published whatever it is.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import click
from _results import Cell, out_option, publish, rounded
from _training import CONFIGS, Trained, interval, recipe_of, tokenized, trained

PLAIN = "plain"
# AlphaDecay multiplies the decay by 2/3 to 5. This is the middle: what a gain would have to be
# above to come from the exponents, and not from more decay.
MIDDLE = (2 / 3 + 5) / 2
COLUMNS = (
    *("weight decay", "bits per byte", "+- (95 %)", "above plain", "+- (95 %)"),
    "seconds of steps",
)


@click.command(help=__doc__)
@click.option(
    "--config", type=click.Path(path_type=Path), default=CONFIGS / "shakespeare.yaml",
    show_default="configs/train/shakespeare.yaml",
)  # fmt: skip
@click.option("--data", help="Text in the place of the recipe's.")
@click.option("--set", "changes", multiple=True, help="Changes of the recipe.")
@click.option("--steps", type=click.IntRange(2), default=300, show_default=True)
@click.option("--decay", type=click.FloatRange(0, min_open=True), default=0.1, show_default=True)
@click.option("--seeds", type=click.IntRange(2, 10), default=3, show_default=True)
@out_option
def main(
    config: Path,
    data: str | None,
    changes: tuple[str, ...],
    steps: int,
    decay: float,
    seeds: int,
    out: Path,
) -> None:
    """Train all, and publish."""
    ways = {
        PLAIN: [f"train.weight_decay={decay}"],
        "by alpha": [f"train.weight_decay={decay}", "train.weight_decay_policy=alpha"],
        f"plain, times {MIDDLE:.2g}": [f"train.weight_decay={MIDDLE * decay}"],
        "none": ["train.weight_decay=0"],
    }
    every = max(1, steps // 6)
    fixed = [
        f"train.steps={steps}", f"train.evaluate_every={steps}", f"train.checkpoint_every={steps}",
        f"train.policy_every={every}", "snapshots.per_decade=0",
    ]  # fmt: skip
    runs: dict[str, list[Trained]] = {way: [] for way in ways}
    with tempfile.TemporaryDirectory() as folder:
        tokens = tokenized(recipe_of(config, changes), data, Path(folder) / "tokens")
        for seed in range(seeds):
            for number, (way, settings) in enumerate(ways.items()):
                words = [*changes, *fixed, *settings, f"train.seed={seed}"]
                run = trained(config, words, tokens, Path(folder) / f"run-{seed}-{number}")
                runs[way].append(run)
    found = {way: [run.bits_per_byte for run in made] for way, made in runs.items()}
    rows: list[list[Cell]] = []
    for way, values in found.items():
        mean, half = interval(values)
        row: list[Cell] = [way, rounded(mean, 5), rounded(half, 2)]
        if way == PLAIN:
            row += [None, None]
        else:
            above = [value - plain for value, plain in zip(values, found[PLAIN], strict=True)]
            row += [rounded(figure, 2) for figure in interval(above)]
        rows.append([*row, rounded(sum(run.seconds for run in runs[way]) / seeds)])
    note = (
        f"{config.name}, {steps} steps, weight decay {decay}, alpha measured each {every} steps, "
        f"{seeds} seeds. Below zero is better than plain."
    )
    publish("alpha_decay", COLUMNS, rows, note, out)


if __name__ == "__main__":
    main()
