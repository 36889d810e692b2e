"""Run folders of the kinds that need no model, made in milliseconds."""

import json

from mlx_probe.runs.training.folder import METRICS, RECIPE

CREATED = "2026-05-0{}T12:00:00+00:00"


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), "utf-8")
    return path


def analysis(folder, model="owner/tiny", day=1, **meta):
    """A finished analysis, without its tables, of a model by its name or as metadata have it."""
    named = {"id": model, "revision": "local", "path": "", "weights": []}
    described = {
        "kind": "analyze",
        "created_at": CREATED.format(day),
        "code_version": "0.1.0",
        "model": model if isinstance(model, dict) else named,
        "configuration": {"spectrum": "exact", "seed": 0},
        "rows_by_status": {"ok": 3},
        "summary": {"alpha": 3.0},
        "seconds": {"open": 0.5, "measure": 1.0},
    }
    write_json(folder / "run_meta.json", {**described, **meta})
    return folder


def training(folder, loss=3.0, lr=0.001, day=2, steps=4, model=True, init=None, **meta):
    """A finished training with its metrics, and a folder where its model would be."""
    losses = [loss + (steps - step) / 10 for step in range(steps + 1)]
    lines = [
        {"step": step, "tokens": 10 * step, "train_loss": value, "val_loss": value}
        for step, value in enumerate(losses)
    ]
    recipe = {"train": {"lr": lr, "steps": steps}, "model": {"dim": 32}}
    described = {
        "kind": "train",
        "created_at": CREATED.format(day),
        "code_version": "0.1.0",
        "recipe": recipe,
        "init": init,
        "steps_done": steps,
        "planned_steps": steps,
        "final": {"val_loss": loss},
        "data": {"sources": ["texts"], "fingerprint": "f" * 64},
    }
    write_json(folder / "run_meta.json", {**described, **meta})
    (folder / METRICS).write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / RECIPE).write_text(json.dumps(recipe))
    if model:
        (folder / "model").mkdir(exist_ok=True)
        (folder / "model" / "model.safetensors").write_bytes(f"weights {loss}".encode())
    return folder
