"""Kill a training, go on, and get the same bits as without the kill.

python examples/04_resume.py
"""

import multiprocessing
import time
from pathlib import Path

import mlx_probe
from small_story import write_story

RECIPE = Path(__file__).parents[1] / "configs" / "train" / "tiny.yaml"
CHANGES = [
    "tokenizer.kind=bytes", "model.vocabulary=400", "train.steps=24", "train.checkpoint_every=5",
    "train.evaluate_every=12", "evaluation_tokens=4096", "dropout=0.1", "per_decade=0",
]  # fmt: skip
# What a clock decides.
TIMES = ["seconds", "tokens_per_second"]


def train(out: str) -> None:
    """Train, or go on: it is the same call."""
    recipe = mlx_probe.read_recipe(RECIPE, CHANGES)
    mlx_probe.train(recipe, out, data=["runs/story.txt"])


def train_and_kill(out: str, lines: int) -> None:
    """Train in another process, and kill it without warning after some steps."""
    process = multiprocessing.get_context("spawn").Process(target=train, args=(out,))
    process.start()
    metrics = Path(out, "metrics.jsonl")
    while process.is_alive():
        if metrics.exists() and metrics.read_bytes().count(b"\n") > lines:
            process.kill()
        time.sleep(0.01)
    process.join()
    print(f"killed: {mlx_probe.load_training_run(out).steps_done} steps have a line of metrics")


if __name__ == "__main__":
    write_story(Path("runs/story.txt"))
    train("runs/undisturbed")
    train_and_kill("runs/killed", lines=13)
    train("runs/killed")

    undisturbed, killed = (
        mlx_probe.load_training_run(f"runs/{name}") for name in ("undisturbed", "killed")
    )
    weights = [
        Path(run, "model", "model.safetensors").read_bytes() for run in (undisturbed, killed)
    ]
    print("weights have the same bits:", weights[0] == weights[1])
    metrics = [run.metrics.drop(columns=TIMES) for run in (undisturbed, killed)]
    print(f"all {len(metrics[0])} lines of metrics are the same:", metrics[0].equals(metrics[1]))
