"""Go on from a trained model with another text: fine-tuning.

    python examples/06_fine_tune.py

The model of 01_train_tiny.py, which knows one text, goes on with another one: the same words, but
each sentence begins with where it happens. It learns the new order, and forgets some of the old.
"""

import re
from importlib import import_module
from pathlib import Path

import mlx_probe
from mlx_probe import (
    EvaluateConfig,
    GenerateConfig,
    Recipe,
    SamplingConfig,
    SnapshotConfig,
    TrainConfig,
)
from small_story import PLACES, write_story


def write_turned_story(path: Path) -> Path:
    """Sentences like "At night the old king sees the green ship."."""
    text = write_story(path, sentences=3000, seed=1).read_text("utf-8")
    sentence = rf"The ([^.]*) ({'|'.join(PLACES)})\."
    path.write_text(re.sub(sentence, lambda m: f"{m[2].capitalize()} the {m[1]}.", text), "utf-8")
    return path


def bits_per_byte(model: mlx_probe.Run, text: Path) -> float:
    """Of some thousand tokens of a text."""
    result = mlx_probe.evaluate(model, text, config=EvaluateConfig(max_tokens=4000))
    return result["bits_per_byte"]


if __name__ == "__main__":
    base = import_module("01_train_tiny").train_tiny()
    # Text that neither training has seen.
    old = write_story(Path("runs/old-heldout.txt"), sentences=400, seed=2)
    new = write_turned_story(Path("runs/turned.txt"))

    recipe = Recipe(
        # Lower rates than those of a training from nothing: the weights are good already.
        train=TrainConfig(
            steps=30, warmup=3, learning_rate=2e-3, muon_learning_rate=1e-2, evaluate_every=30
        ),
        snapshots=SnapshotConfig(per_decade=0),
    )
    # Shape and tokenizer are those of the model that it goes on from.
    tuned = mlx_probe.train(recipe, "runs/tuned", data=[new], init=base)

    metrics = mlx_probe.load_training_run(tuned).metrics
    print("bits per byte        old text  new text")
    before, after = metrics["val_bpb"].dropna()
    print(f"before fine-tuning {bits_per_byte(base, old):10.3f}{before:10.3f}")
    print(f"after fine-tuning  {bits_per_byte(tuned, old):10.3f}{after:10.3f}")

    loaded = mlx_probe.load_model(tuned)
    setting = GenerateConfig(40, sampling=SamplingConfig(temperature=0.5))
    # Paragraphs on one line.
    print("At night", *mlx_probe.generate(loaded, "At night", setting).text.split())
