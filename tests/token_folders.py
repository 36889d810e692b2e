"""Text to tokenize, and what a folder of tokens holds."""

import random

from mlx_probe.lab.data.loader import TokenStream
from mlx_probe.lab.data.manifest import Manifest
from mlx_probe.lab.data.tokenizer import load_tokenizer

WORDS = ("the of and a to in is it you that he was for on are with as his they be at one").split()  # noqa: SIM905


def sentences(count, seed=0):
    """Different lines of text, some with characters of several bytes."""
    chance = random.Random(seed)
    return [
        f"{number} " + " ".join(chance.choices([*WORDS, "über", "詩"], k=chance.randint(3, 12)))
        for number in range(count)
    ]


def documents_of(folder, split):
    """The texts of a split, from its tokens."""
    Manifest.read(folder)
    tokenizer = load_tokenizer(folder / "tokenizer")
    stream = TokenStream(folder, split)
    texts, ids = [], []
    for token in stream.read(0, len(stream)).tolist():
        if token == tokenizer.eos_id:
            texts.append(tokenizer.decode(ids))
            ids = []
        else:
            ids.append(token)
    assert not ids
    return texts


def all_documents(folder):
    return sorted(documents_of(folder, "train") + documents_of(folder, "validation"))


def shards(folder):
    """The bytes of all shards by name."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.bin"))}
