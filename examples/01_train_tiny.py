"""Train a language model from nothing, in seconds.

    python examples/01_train_tiny.py

The text is made by `small_story`, whose best possible bits per byte are known. The run folder
`runs/tiny` has the model, its metrics and its snapshots; run the script again, and the finished
run is read from there.
"""

from pathlib import Path

import mlx_probe
from small_story import BEST, write_story

RECIPE = Path(__file__).parents[1] / "configs" / "train" / "tiny.yaml"
RUN = Path("runs/tiny")


def train_tiny() -> mlx_probe.Run:
    """The run that the other examples go on with."""
    text = write_story(Path("runs/story.txt"))
    # The preset, but for a vocabulary that suits so small a text.
    recipe = mlx_probe.read_recipe(RECIPE, ["tokenizer.kind=bytes", "model.vocabulary=400"])
    return mlx_probe.train(recipe, RUN, data=[text])


if __name__ == "__main__":
    run = train_tiny()
    print(f"{run.meta['parameters']:,} parameters, {run.meta['tokens']:,} tokens seen")

    metrics = mlx_probe.load_training_run(run).metrics
    evaluated = metrics[metrics["val_bpb"].notna()]
    print(evaluated[["step", "train_loss", "val_loss", "val_bpb"]].to_string(index=False))
    print(f"the best possible model: {BEST:.3f} bits per byte")
    print(f"the model: {run.folder / 'model'}")
