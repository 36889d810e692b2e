"""Tiny conversations, a tiny model that talks, and a recipe that tunes it in a second."""

import json

from mlx_probe.lab.settings import read_settings
from mlx_probe.lab.tune.config import TuneRecipe

SMALL = (
    "rank=2", "steps=6", "batch=2", "warmup=1", "learning_rate=1e-2", "evaluate_every=3",
    "checkpoint_every=2", "bucket=8", "compare=none", "dropout=0.2",
)  # fmt: skip
TOOL = {"type": "function", "function": {"name": "be", "parameters": {"type": "object"}}}


def recipe(*changes, path=None):
    return read_settings(TuneRecipe, path, (*SMALL, *changes))


def conversation(number, turns=1):
    messages = [{"role": "system", "content": "Be."}]
    for turn in range(turns):
        messages.append({"role": "user", "content": f"be {number} or not {'to be ' * turn}?"})
        messages.append({"role": "assistant", "content": f"not {number}"})
    return {"id": f"c{number}", "messages": messages, "tools": []}


def write_data(folder, train=None, valid=None):
    folder.mkdir(parents=True, exist_ok=True)
    train = [conversation(n, 1 + n % 2) for n in range(9)] if train is None else train
    valid = [conversation(n) for n in range(20, 23)] if valid is None else valid
    for name, entries in (("train", train), ("valid", valid)):
        lines = [e if isinstance(e, str) else json.dumps(e) for e in entries]
        (folder / f"{name}.jsonl").write_text("".join(line + "\n" for line in lines))
    return folder


def results_of(run):
    """Every byte of a run that has to be the same after an interruption."""
    kept = {}
    for path in sorted(run.rglob("*")):
        relative = path.relative_to(run)
        if relative.parts[0] not in ("adapter", "snapshots") or "difference" in relative.parts:
            continue
        if path.is_file():
            kept[str(relative)] = path.read_bytes()
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        line.pop("seconds", None), line.pop("tokens_per_second", None)
    return kept, lines
