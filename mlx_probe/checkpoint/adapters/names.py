"""Names of an adapter's tensors, taken apart."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mlx_probe.checkpoint.adapters.kinds import AdapterKind

__all__ = [
    "PEFT_PREFIX",
    "TOKENS_PIECE",
    "WRAPPED",
    "Named",
    "base_name",
    "may_begin_piece",
    "parse",
]

# The piece of any kind that holds new rows of a table of embeddings.
TOKENS_PIECE = "trainable_tokens_delta"
# PEFT's prefix to the base model's names.
PEFT_PREFIX = "base_model.model."
# What PEFT calls the module that it wraps.
WRAPPED = "base_layer"
# Segments between a module's name and its piece.
_HOLDERS = (WRAPPED, "token_adapter")


@dataclass(frozen=True)
class Named:
    """A tensor's name, taken apart.

    Attributes:
        module: Name of the module in the base; "" for what all modules share.
        depth: Wrappers around it, see `Module`.
        piece: Key of the piece, with ".bias" for a bias.
    """

    module: str
    depth: int
    piece: str


def parse(name: str, kind: AdapterKind) -> Named | None:
    """Take the name of an adapter's tensor apart; None if it is not of the kind.

    ``base_model.model.layers.0.q_proj.lora_A.default.weight`` is the piece ``lora_A`` of
    ``layers.0.q_proj``. In memory PEFT inserts the adapter's name; llama.cpp puts the piece
    behind the name of the weight.

    Args:
        name: Name of the tensor.
        kind: The kind of the adapter.
    """
    segments = name.split(".")
    at = next((i for i in range(len(segments)) if _begins_piece(segments, i, kind)), None)
    if at is None:
        return None
    before = segments[:at]
    shared = before == ["base_model"]
    plain = [segment for segment in before if segment not in _HOLDERS]
    if plain and plain[-1] == "weight":
        plain.pop()
    module = "" if shared else ".".join(plain).removeprefix(PEFT_PREFIX)
    return Named(module, before.count(WRAPPED), segments[at] + _ending(segments[at + 1 :]))


def _ending(segments: Sequence[str]) -> str:
    """What follows a piece, without the adapter's name and ".weight"."""
    last = segments[-1] if segments else "weight"
    if last in ("weight", "bias") and len(segments) <= 2:
        return "" if last == "weight" else ".bias"
    if len(segments) == 1 and not re.search("weight|bias", last):
        return ""
    return "." + ".".join(segments)


def _begins_piece(segments: Sequence[str], at: int, kind: AdapterKind) -> bool:
    segment = segments[at]
    if segment == "m":
        # mlx-lm's name of DoRA's norms is short: it may be a module's name as well.
        return "m" in kind.pieces and at == len(segments) - 1
    begun = bool(kind.prefix) and segment.startswith(kind.prefix)
    return begun or segment == TOKENS_PIECE or segment in (*kind.pieces, *kind.unused)


def may_begin_piece(segments: Iterable[str], kind: AdapterKind) -> bool:
    """Whether any of some segments of names may begin a piece of a kind, wherever it stands."""
    return any(_begins_piece((segment,), 0, kind) for segment in segments)


def base_name(name: str) -> str:
    """The base's name of a tensor that an adapter stores whole."""
    segments = name.removeprefix(PEFT_PREFIX).split(".")
    kept = []
    for i, segment in enumerate(segments):
        after_save = i > 0 and segments[i - 1] == "modules_to_save"
        if segment not in (WRAPPED, "modules_to_save", "original_module") and not after_save:
            kept.append(segment)
    return ".".join(kept)
