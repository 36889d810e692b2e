"""Watching a real training run: it changes no bit, and its metadata say what was measured."""

import json
import shutil

import pytest
from project import ROOT
from pyarrow import parquet

import mlx_probe
from mlx_probe.core.files import sha256_file
from mlx_probe.lab.data.config import DataConfig, TokenizerConfig
from mlx_probe.lab.model.config import ModelConfig
from mlx_probe.lab.train.config import Recipe, SnapshotConfig, TrainConfig
from mlx_probe.lab.train.train import train
from mlx_probe.runs.training.metrics import TIMES

STEPS = 12
WATCHED = SnapshotConfig(per_decade=2, at=(5,), watch_share=0.5)

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
        train=TrainConfig(
            steps=STEPS,
            batch=4,
            warmup=3,
            evaluate_every=4,
            dropout=0.1,
            sample_every=6,
            sample_prompt="the",
            sample_tokens=4,
        ),
        snapshots=snapshots,
    )
    return train(recipe, folder, device="cpu")


def metrics(folder):
    lines = map(json.loads, (folder / "metrics.jsonl").read_text("utf-8").splitlines())
    return [{key: line[key] for key in line if key not in TIMES} for line in lines]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run whose snapshots are measured. Read only."""
    return trained(tmp_path_factory.mktemp("watched") / "run", WATCHED)


def test_watching_changes_no_bit_of_training(run, tmp_path):
    watched, alone = run.folder, tmp_path / "alone"
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


@pytest.mark.parametrize(
    ("name", "check"),
    [
        *(
            (name, f"sha256 of {name}")
            for name in (
                "metrics.jsonl",
                "metrics.parquet",
                "samples.jsonl",
                "spectra_over_time.parquet",
                "recipe.yaml",
                "tensorboard/events.out.tfevents.mlx-probe",
                "model/model.safetensors",
                "model/config.json",
                "model/tokenizer.json",
                "snapshots/step-5/model.safetensors",
                "snapshots/step-5/config.json",
                "snapshots/step-10/analysis/params.parquet",
                "snapshots/step-10/analysis/spectra.parquet",
            )
        ),
        ("snapshots/step-10/analysis/run_meta.json", "measurements of the snapshots"),
    ],
)
def test_a_damaged_file_is_named(run, tmp_path, name, check):
    """A bit that flips in any result of a training run, and nothing else."""
    folder = tmp_path / "run"
    shutil.copytree(run.folder, folder)
    assert [each.name for each in mlx_probe.validate(folder) if not each.passed] == []
    path = folder / name
    content = bytearray(path.read_bytes())
    content[1] ^= 2
    path.write_bytes(content)
    broken = {each.name: each.detail for each in mlx_probe.validate(folder) if not each.passed}
    assert check in broken
    assert "changed after the run" in broken[check] or "cannot read" in broken[check]


def test_every_result_is_listed_with_its_size(run):
    outputs = run.meta["outputs"]
    assert all((run.folder / name).stat().st_size == of["bytes"] for name, of in outputs.items())
    loose = {"plan.json", "run_meta.json", "monitor.parquet"}
    results = {
        path.relative_to(run.folder).as_posix()
        for path in run.folder.rglob("*")
        if path.is_file()
        and path.name not in loose
        and path.suffix != ".log"
        and not {"data", "checkpoints", "analysis"} & set(path.parts)
    }
    assert results == {*outputs, "snapshots/measured.jsonl"}
