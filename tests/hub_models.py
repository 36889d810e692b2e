"""A repository and its download, a retry policy that never waits, and what is in a folder."""

import json
import random

from mlx_probe.library.download import DownloadConfig, download
from mlx_probe.source import parse_reference
from mlx_probe.source.transfer.retry import RetryPolicy

SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
REPO = "owner/name"


def make_files(seed=0, size=30_000):
    """A repository: two shards, what is read beside them, and what nobody needs."""
    draw = random.Random(seed)
    index = {"weight_map": {"a": SHARDS[0], "b": SHARDS[1]}}
    return {
        "README.md": b"# A model",
        "config.json": b'{"model_type": "llama"}',
        "model.safetensors.index.json": json.dumps(index).encode(),
        SHARDS[0]: draw.randbytes(size),
        SHARDS[1]: draw.randbytes(size + 17),
        "tokenizer.json": b"{}",
        "onnx/model.onnx": draw.randbytes(100),
    }


NEEDED = ("config.json", "model.safetensors.index.json", *SHARDS, "tokenizer.json")


def hasty(**settings):
    """A retry policy that never waits."""
    values = {"tries": 5, "timeout": 5.0, "sleep": lambda seconds: None, "random": lambda: 0.0}
    return RetryPolicy(**{**values, **settings})


def fetch(text=REPO, progress=None, revision=None, watch=None, **settings):
    """Download a model, by default the repository, without waiting before a retry."""
    config = DownloadConfig(**{"retry": hasty(), **settings})
    return download(parse_reference(text, revision), config, progress, watch)


def tree(folder):
    """Every path below a folder with what is there: content, link or nothing."""
    return {
        str(path.relative_to(folder)): (
            f"-> {path.readlink()}"
            if path.is_symlink()
            else path.read_bytes()
            if path.is_file()
            else None
        )
        for path in sorted(folder.rglob("*"))
    }
