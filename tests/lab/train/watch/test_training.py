"""Watching a real training run: it changes no bit, and its metadata say what was measured."""

import json

import pytest
from project import ROOT
from pyarrow import parquet

from mlx_probe.core.files import sha256_file
from mlx_probe.lab.data.config import DataConfig, TokenizerConfig
from mlx_probe.lab.model.config import ModelConfig
from mlx_probe.lab.train.config import Recipe, SnapshotConfig, TrainConfig
from mlx_probe.lab.train.metrics_file import TIMES
from mlx_probe.lab.train.train import train

STEPS = 12
WATCHED = SnapshotConfig(per_decade=2, steps=(5,), watch_share=0.5)

pytestmark = pytest.mark.slow


def trained(folder, snapshots):
    text = folder.with_suffix(".txt")
    text.write_text((ROOT / "docs" / "en" / "metrics.md").read_text("utf-8")[:12_000], "utf-8")
    recipe = Recipe(
        model=ModelConfig(
            dim=32, layers=1, heads=2, kv_heads=1, hidden=48, vocabulary=320, context=32
        ),
        tokenizer=TokenizerConfig(kind="bytes"),
        data=DataConfig(sources=(str(text),), document="paragraph", workers=1),
        train=TrainConfig(steps=STEPS, batch=4, warmup=3, evaluate_every=4, dropout=0.1),
        snapshots=snapshots,
    )
    return train(recipe, folder, device="cpu")


def metrics(folder):
    lines = map(json.loads, (folder / "metrics.jsonl").read_text("utf-8").splitlines())
    return [{key: line[key] for key in line if key not in TIMES} for line in lines]


def test_watching_changes_no_bit_of_training(tmp_path):
    watched, alone = tmp_path / "watched", tmp_path / "alone"
    run = trained(watched, WATCHED)
    assert trained(alone, SnapshotConfig(per_decade=0)).meta["watch"]["snapshots"] == []
    assert metrics(watched) == metrics(alone)
    weights = [sha256_file(folder / "model" / "model.safetensors") for folder in (watched, alone)]
    assert weights[0] == weights[1]
    # The last snapshot is the final model.
    last = watched / "snapshots" / f"step-{STEPS}" / "model.safetensors"
    assert sha256_file(last) == weights[0]
    steps = [0, 1, 3, 5, 10, STEPS]
    assert run.meta["watch"]["measured"] == run.meta["watch"]["snapshots"] == steps
    table = parquet.read_table(watched / "spectra_over_time.parquet")
    assert sorted(set(table["step"].to_pylist())) == steps
