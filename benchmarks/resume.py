"""Whether a training run that is killed goes on with the same bits.

    python benchmarks/resume.py [--kills 20]

Trains a small model by the installed command, with dropout, two micro-batches a step, evaluations,
samples and checkpoints, past the ends of several epochs. Then the same run again, with kill -9 at
random moments of it, and the same command until it is finished. Exit code 1 unless weights,
optimizer, samples and all lines of metrics but their times are the same, bit for bit.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
from _results import out_option, publish, rounded

from mlx_probe.lab.data.config import DataConfig, TokenizerConfig
from mlx_probe.lab.data.tokenize import tokenize

COMMAND = Path(sys.executable).with_name("mlx-probe")
TEXT = Path(__file__).parents[1] / "docs" / "en" / "metrics.md"
COLUMNS = ("killed after, s", "last line of metrics", "checkpoint being written", "same bits")
TIMES = ("seconds", "tokens_per_second")
RECIPE = """
model: {dim: 32, layers: 2, heads: 2, kv_heads: 1, hidden: 64, vocabulary: 320, context: 32}
tokenizer: {kind: bytes}
train:
  {batch: 4, accumulation: 2, warmup: 5, dropout: 0.1, evaluate_every: 6, checkpoint_every: 4,
  sample_every: 5, sample_prompt: the, sample_tokens: 8, steps: %d}
snapshots: {per_decade: 0, watch_share: 0}
"""


def start(out: Path) -> subprocess.Popen[bytes]:
    words = ["train", "--config", out.parent / "recipe.yaml", "--data", out.parent / "tokens"]
    return subprocess.Popen([COMMAND, *words, "--out", out, "--device", "cpu", "--quiet"])


def finish(out: Path) -> dict[str, Any]:
    """Run the command to its end; everything that must be the same."""
    code = start(out).wait()
    if code:
        raise SystemExit(f"mlx-probe train ended with code {code}")
    lines = [json.loads(line) for line in (out / "metrics.jsonl").open()]
    (last,) = (out / "checkpoints").glob(f"step-{lines[-1]['step']}")
    files = {
        "weights": out / "model" / "model.safetensors",
        "optimizer": last / "optimizer.safetensors",
        "samples": out / "samples.jsonl",
    }
    return {
        "metrics": [{key: line[key] for key in line if key not in TIMES} for line in lines],
        **{name: path.read_bytes() for name, path in files.items()},
    }


def kill_after(out: Path, seconds: float) -> tuple[str, bool]:
    """Kill a run; its last line of metrics, and whether a checkpoint was being written."""
    process = start(out)
    time.sleep(seconds)
    process.kill()
    process.wait()
    metrics = out / "metrics.jsonl"
    lines = metrics.read_bytes().splitlines() if metrics.exists() else []
    last = f"step {json.loads(lines[-1])['step']}" if lines else "none yet"
    return last, any((out / "checkpoints").glob(".step-*"))


@click.command()
@click.option("--kills", default=20, show_default=True)
@click.option("--steps", default=60, show_default=True)
@click.option("--seed", default=0, show_default=True, help="Of the moments.")
@out_option
def main(kills: int, steps: int, seed: int, out: Path) -> None:
    """Kill and resume."""
    chance, rows = random.Random(seed), []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "recipe.yaml").write_text(RECIPE % steps)
        (folder / "text.txt").write_text(TEXT.read_text("utf-8")[:12_000], "utf-8")
        data = DataConfig(sources=(str(folder / "text.txt"),), document="paragraph", workers=1)
        tokenize(data, TokenizerConfig(kind="bytes"), 320, folder / "tokens")
        began = time.monotonic()
        undisturbed = finish(folder / "undisturbed")
        duration = time.monotonic() - began
        # Starting takes a part of the time in which there is nothing to lose.
        first = duration - undisturbed_seconds(folder / "undisturbed")
        for _ in range(kills):
            disturbed = folder / "disturbed"
            shutil.rmtree(disturbed, ignore_errors=True)
            moment = chance.uniform(0.8 * first, duration)
            last, is_writing = kill_after(disturbed, moment)
            same = finish(disturbed) == undisturbed
            rows.append((rounded(moment), last, str(is_writing), "yes" if same else "NO"))
    note = (
        f"{steps} steps of two micro-batches with dropout 0.1; evaluations every 6 steps, "
        "checkpoints every 4, samples every 5. Compared: weights, optimizer, samples, and every "
        "line of metrics.jsonl without its times."
    )
    publish("resume", COLUMNS, rows, note, out)
    sys.exit(any(row[-1] != "yes" for row in rows))


def undisturbed_seconds(out: Path) -> float:
    """Time of the steps."""
    seconds: float = json.loads((out / "run_meta.json").read_text())["training_seconds"]
    return seconds


if __name__ == "__main__":
    main()
