"""SentencePiece: byte pair encoding of characters, and bytes for characters it does not know.

Kudo and Richardson, "SentencePiece: A simple and language independent subword tokenizer" (2018);
Sennrich, Haddow and Birch, "Neural Machine Translation of Rare Words with Subword Units" (2016).
"""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.data.tokenizer.special import END, PAD, UNKNOWN
from mlx_probe.lab.data.tokenizer.words import keep_alphabet

__all__ = ["Pieces", "merges_of", "train_sentencepiece"]

# The trainer writes a space so, and the model file too: text with this character is left out.
_SPACE = "\u2581"
# The trainer separates fields by tabs and drops text with them: they take the place of this sign.
_TAB = "\u2409"
_BYTES = 256
_NORMAL = 1


@dataclass(frozen=True)
class Pieces:
    """A trained vocabulary.

    Attributes:
        texts: The piece of each id: special tokens, `<0x00>` to `<0xFF>`, then text in the order
            in which the pieces were learned. Spaces are spaces.
        first: Id of the first piece that is text.
        model: SentencePiece's own model file, in which spaces are written as U+2581.
    """

    texts: tuple[str, ...]
    first: int
    model: bytes


def train_sentencepiece(
    words: Counter[str], vocabulary: int, special: Sequence[str], split_digits: bool, fewer: bool
) -> Pieces:
    """Train a vocabulary of exactly the given size, or at most that.

    Args:
        words: How often each word occurs.
        vocabulary: Tokens: special ones, 256 bytes, characters and merged pieces.
        special: `END`, `PAD`, and all others after `UNKNOWN`, which has id 0.
        split_digits: Whether each digit is a token of its own.
        fewer: Whether the size is a limit; otherwise a text that allows fewer is refused.

    Raises:
        ConfigError: The vocabulary is too small for bytes and special tokens, or larger than
            the text allows.
    """
    from sentencepiece import SentencePieceTrainer

    # At most half of the room goes to single characters, so that merges have the other half: a
    # character that is left out costs as many tokens as it has bytes.
    room = vocabulary - _BYTES - len(special) - 1
    table, _ = keep_alphabet(_plain(words), most=max(room // 2, 1), coverage=0.9995)
    table.pop("", None)
    if not table:
        raise ConfigError("no text to train a tokenizer on", "Give sources with text in them")
    model = io.BytesIO()
    try:
        SentencePieceTrainer.train(
            sentence_iterator=_lines(table),
            model_writer=model,
            model_type="bpe",
            vocab_size=vocabulary,
            hard_vocab_limit=not fewer,
            input_format="tsv",
            character_coverage=1.0,
            byte_fallback=True,
            normalization_rule_name="identity",
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            allow_whitespace_only_pieces=True,
            split_digits=split_digits,
            max_sentence_length=1 << 20,
            num_threads=1,
            minloglevel=3,
            unk_id=0,
            unk_piece=UNKNOWN,
            bos_id=-1,
            eos_id=1,
            eos_piece=END,
            pad_id=2,
            pad_piece=PAD,
            control_symbols=[token for token in special if token not in (END, PAD)],
        )
    except RuntimeError as error:
        most = re.search(r"value <= (\d+)", str(error))
        if most is None:
            raise
        raise ConfigError(
            f"a vocabulary of {vocabulary} is larger than the text allows",
            f"Choose at most {most[1]}, or give more text",
        ) from error
    return _renamed(model.getvalue())


def merges_of(pieces: Pieces) -> Iterator[tuple[str, str]]:
    """The pairs that byte pair encoding merges, the first ones first.

    SentencePiece merges any two neighbours whose text is a piece, the piece learned first before
    others, and the leftmost pair among equals. `tokenizers` has a rank for each pair instead.
    Pairs of the same piece may have any order: two of them would have to overlap (ab, a, ba for
    the piece aba), and what is left of a text that repeats itself repeats itself too.
    """
    known = set(pieces.texts[pieces.first :])
    for piece in pieces.texts[pieces.first :]:
        for cut in range(1, len(piece)):
            left, right = piece[:cut], piece[cut:]
            if left in known and right in known:
                yield left, right


def _plain(words: Counter[str]) -> Counter[str]:
    """Words without the characters that have a meaning of their own for the trainer."""
    plain: Counter[str] = Counter()
    # NUL is what `keep_alphabet` cuts at; U+2585 stands for unknown characters.
    marks = str.maketrans({_SPACE: "\0", _TAB: "\0", "\u2585": "\0", "\t": _TAB})
    for word, count in words.items():
        for part in word.translate(marks).split("\0"):
            plain[part] += count
    return plain


def _lines(table: Counter[str]) -> Iterator[str]:
    # Sorted: the same words give the same model whatever order they came in.
    for word, count in sorted(table.items()):
        yield f"{word}\t{count}"


def _renamed(model: bytes) -> Pieces:
    from sentencepiece import sentencepiece_model_pb2

    message: Any = sentencepiece_model_pb2  # its classes are made when it is imported
    proto = message.ModelProto.FromString(model)
    for piece in proto.pieces:
        if piece.type == _NORMAL:
            piece.piece = piece.piece.replace(_TAB, "\t")
    proto.trainer_spec.ClearField("input_format")
    texts = tuple(
        piece.piece.replace(_SPACE, " ") if piece.type == _NORMAL else piece.piece
        for piece in proto.pieces
    )
    first = next(i for i, piece in enumerate(proto.pieces) if piece.type == _NORMAL)
    return Pieces(texts, first, proto.SerializeToString(deterministic=True))
