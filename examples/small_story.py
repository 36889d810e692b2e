"""A text whose best possible model is known: sentences of a tiny grammar.

Every sentence is "The ADJECTIVE NOUN VERB the ADJECTIVE NOUN PLACE.", with each word drawn from a
list of its kind, all equally likely. Nobody can predict a draw, so a sentence has `BITS` bits of
information whatever model reads it, and everything else in it (spelling, grammar, order of words)
can be learned. Bits per byte of a model that has learned all of it, and sees each sentence from its
beginning, are therefore known beforehand: `BEST`.
"""

from __future__ import annotations

import math
import random
from pathlib import Path


def _words(text: str) -> list[str]:
    return text.split()


ADJECTIVES = _words("old young green silver brave quiet hungry clever golden tired gentle wild")
NOUNS = _words("king queen fox bear ship river wizard baker child dragon garden mountain")
VERBS = _words("sees finds follows paints remembers guards carries forgets")
PLACES = ["at night", "by the sea", "in the rain", "under the moon", "behind the hill", "at dawn"]
SLOTS = (ADJECTIVES, NOUNS, VERBS, ADJECTIVES, NOUNS, PLACES)


def _mean_length(words: list[str]) -> float:
    return sum(map(len, words)) / len(words)


BITS = sum(math.log2(len(words)) for words in SLOTS)
# "The ", five spaces between the draws, " the" and its space, the full stop, and what separates it
# from the next sentence.
BYTES = len("The  " + "   the   . ") - 1 + sum(map(_mean_length, SLOTS))
BEST = BITS / BYTES


def write_story(path: Path, sentences: int = 6000, seed: int = 0) -> Path:
    """Write a text of so many sentences, eight in a paragraph; the same for the same seed."""
    draw = random.Random(seed)
    lines = []
    for _ in range(sentences):
        adjective, noun, verb, other, thing, where = (draw.choice(words) for words in SLOTS)
        lines.append(f"The {adjective} {noun} {verb} the {other} {thing} {where}.")
    paragraphs = [" ".join(lines[first : first + 8]) for first in range(0, sentences, 8)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n\n".join(paragraphs), "utf-8")
    return path
