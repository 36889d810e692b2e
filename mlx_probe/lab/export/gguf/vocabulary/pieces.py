"""SentencePiece's BPE with byte fallback: pieces, scores and types of its own model file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlx_probe.core.errors import CheckpointError, damaged, unreadable
from mlx_probe.lab.data.tokenizer import Tokenizer
from mlx_probe.lab.export.gguf.vocabulary.vocabulary import Core

__all__ = ["read"]

_SPACE = "\u2581"
_BPE, _NORMAL = 2, 1  # of sentencepiece_model.proto
# What the two files are compared by: spaces, digits, line ends, other scripts, rare characters.
_SAMPLE = (
    "To be, or not to be: that is the question.\n", " leading", "trailing ", "two  spaces",
    "\ttab\r\n\n", "in 1999, 3.14", "don't (stop)", "cafe\u0301 \ufb01 \u2126",
    "\u5e8a\u524d\u660e\u6708\u5149", "\U0001f469\u200d\U0001f467 \ue000\U0010ffff",
    "\x01\x7f\x85\u2028\ufeff",
)  # fmt: skip
_NOTE = (
    "llama.cpp takes U+2581 for a space; in a text with that character its ids differ from those "
    "of tokenizer.json"
)


def read(tokenizer: Tokenizer, described: Mapping[str, Any]) -> Core:
    """Pieces with scores, checked against tokenizer.json.

    Args:
        tokenizer: From the folder that has tokenizer.model too.
        described: Content of tokenizer.json.

    Raises:
        CheckpointError: There is no tokenizer.model, it is of another kind, or it gives other ids
            than tokenizer.json.
    """
    path = tokenizer.folder / "tokenizer.model"
    proto = _proto(path)
    normalizer = proto.normalizer_spec
    if proto.trainer_spec.model_type != _BPE or not proto.trainer_spec.byte_fallback:
        raise _other(path, "it is no BPE with byte fallback")
    if normalizer.precompiled_charsmap or normalizer.remove_extra_whitespaces:
        raise _other(path, "it normalizes text")
    _compare(path, proto, tokenizer, described)
    return Core(
        model="llama",
        pre="default",
        tokens=[piece.piece for piece in proto.pieces],
        types=[int(piece.type) for piece in proto.pieces],
        scores=[float(piece.score) for piece in proto.pieces],
        space_prefix=bool(normalizer.add_dummy_prefix),
        notes=(_NOTE,),
    )


def _proto(path: Path) -> Any:
    from google.protobuf.message import DecodeError
    from sentencepiece import sentencepiece_model_pb2

    message: Any = sentencepiece_model_pb2  # its classes are made when it is imported
    try:
        return message.ModelProto.FromString(path.read_bytes())
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{path} does not exist: the scores of a SentencePiece tokenizer are in it alone",
            "Copy it there from the model's publisher",
        ) from error
    except OSError as error:
        raise unreadable(path, error) from error
    except DecodeError as error:
        raise damaged(path, f"it is no SentencePiece model: {error}") from error


def _compare(path: Path, proto: Any, tokenizer: Tokenizer, described: Mapping[str, Any]) -> None:
    from sentencepiece import SentencePieceProcessor

    ids = described["model"]["vocab"]
    for number, piece in enumerate(proto.pieces):
        # A tokenizer.json may keep spaces as they are, and special tokens apart.
        spellings = (piece.piece, piece.piece.replace(_SPACE, " "))
        found = {ids[each] for each in spellings if each in ids}
        if number not in found and (found or piece.type == _NORMAL):
            raise _other(path, f"token {number} is {piece.piece!r}, and not in tokenizer.json")
    processor = SentencePieceProcessor(model_proto=proto.SerializeToString())
    for text in _SAMPLE:
        if processor.encode(text) != tokenizer.encode(text):
            raise _other(path, f"its ids of {text!r} are not those of tokenizer.json")


def _other(path: Path, fact: str) -> CheckpointError:
    return CheckpointError(
        f"{path}: {fact}: llama.cpp would give other ids",
        "Give a SentencePiece BPE with byte fallback, and the tokenizer.json made from it",
    )
