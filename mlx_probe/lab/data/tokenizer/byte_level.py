"""Byte-level byte pair encoding: the 256 bytes and what is merged from them.

Radford et al., "Language Models are Unsupervised Multitask Learners" (2019). Each byte is written
as a printable character, so that a vocabulary is text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from mlx_probe.core.errors import ConfigError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["byte_of_letter", "train_byte_level"]


def train_byte_level(
    texts: Iterable[str], vocabulary: int, special: Sequence[str], split_digits: bool, fewer: bool
) -> Tokenizer:
    """Train a tokenizer with exactly the given number of tokens, or at most that.

    Text is cut into words by the regular expression of GPT-2 before pairs are counted; merges
    never cross words.

    Args:
        texts: The sample.
        vocabulary: Tokens: special ones, 256 bytes, merged pieces.
        special: Special tokens; they get the first ids.
        split_digits: Whether each digit is a token of its own.
        fewer: Whether the number is a limit; otherwise a text that allows fewer is refused.

    Raises:
        ConfigError: The vocabulary is larger than the text allows.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    words = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    digits = pre_tokenizers.Digits(individual_digits=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, words]) if split_digits else words
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        min_frequency=1,
        show_progress=False,
        special_tokens=list(special),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        max_token_length=16,
    )
    tokenizer.train_from_iterator(texts, trainer)
    size = tokenizer.get_vocab_size()
    if size < vocabulary and not fewer:
        raise ConfigError(
            f"a vocabulary of {vocabulary} is larger than the text allows",
            f"Choose at most {size}, or give more text",
        )
    return tokenizer


def byte_of_letter() -> dict[str, int]:
    """The byte that each of the 256 characters of a byte-level vocabulary stands for.

    Printable characters of Latin-1 stand for themselves, the other bytes in their order for the
    characters from U+0100 on.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    letters = {chr(byte): byte for byte in printable}
    return letters | {chr(256 + i): byte for i, byte in enumerate(others)}
