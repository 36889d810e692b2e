"""A small text as tokens, and short training runs on it."""

import json
from dataclasses import replace

from project import ROOT

from mlx_probe.lab.data.config import DataConfig, TokenizerConfig
from mlx_probe.lab.data.tokenize import tokenize
from mlx_probe.lab.model.config import ModelConfig
from mlx_probe.lab.train.config import Recipe, SnapshotConfig, TrainConfig
from mlx_probe.runs.training.metrics import TIMES

# 12 steps of 2 micro-batches pass the end of three epochs.
RECIPE = Recipe(
    model=ModelConfig(
        dim=32, layers=1, heads=2, kv_heads=1, hidden=48, vocabulary=320, context=32
    ),
    tokenizer=TokenizerConfig(kind="bytes"),
    train=TrainConfig(
        steps=12, batch=4, accumulation=2, warmup=3, dropout=0.1, evaluate_every=4,
        checkpoint_every=3, sample_every=5, sample_prompt="the", sample_tokens=4,
    ),
    snapshots=SnapshotConfig(per_decade=0, watch_share=0.0),
)  # fmt: skip


def recipe_with(**changes):
    """`RECIPE` with other settings of the training."""
    return replace(RECIPE, train=replace(RECIPE.train, **changes))


def write_tokens(folder, begin=0):
    """Tokens of a part of this project's documentation, 12 kB."""
    text = (ROOT / "docs" / "en" / "metrics.md").read_text("utf-8")[begin : begin + 12_000]
    (folder / "text.txt").write_text(text, "utf-8")
    data = DataConfig(sources=(str(folder / "text.txt"),), document="paragraph", workers=1)
    tokenize(data, RECIPE.tokenizer, RECIPE.model.vocabulary, folder / "tokens")
    return folder / "tokens"


def metrics_of(run):
    """The lines of metrics.jsonl without what depends on the time."""
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [{key: line[key] for key in line if key not in TIMES} for line in lines]


def results_of(run):
    """Everything that a resumed run must have as an undisturbed one, bit for bit."""
    last = max((run / "checkpoints").glob("step-*"), key=lambda path: int(path.name[5:]))
    files = {
        "weights": run / "model" / "model.safetensors",
        "optimizer": last / "optimizer.safetensors",
        "samples": run / "samples.jsonl",
    }
    return {name: path.read_bytes() for name, path in files.items()} | {"metrics": metrics_of(run)}


class Killed(BaseException):
    """What a test kills a run with: nothing in the program expects it."""


def kill(monkeypatch, owner, name, call, after=False):
    """Let the run end in a call of a function: before it, or after it."""
    function, count = getattr(owner, name), 0

    def call_or_die(*args, **settings):
        nonlocal count
        count += 1
        if count == call and not after:
            raise Killed
        result = function(*args, **settings)
        if count == call:
            raise Killed
        return result

    monkeypatch.setattr(owner, name, call_or_die)
