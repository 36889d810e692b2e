"""Which type each tensor of a file has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mlx_probe.checkpoint.weight import Weight
from mlx_probe.lab.export.gguf.architectures import Place
from mlx_probe.lab.export.gguf.types import BLOCK, is_packed
from mlx_probe.lab.export.gguf.write import Tensor

__all__ = ["place_tensors"]

# A row of numbers that are no whole blocks, as in llama.cpp's own converters.
_UNEVEN = "F16"
# The tokens' probabilities suffer most from few bits: llama-quantize takes Q6_K for the head, and
# Q8_0 where that does not fit. The gguf package packs no Q6_K.
_HEAD = "Q8_0"


def place_tensors(
    places: Sequence[Place],
    weights: Mapping[str, tuple[Weight, ...]],
    dtype: str,
    tied: bool,
) -> tuple[list[Tensor], tuple[str, ...]]:
    """The tensors of a file with their types.

    Norms and other vectors, and what chooses a mixture's experts, stay float32. In packed types
    the output head is at least Q8_0, and matrices whose rows are no whole blocks are float16.

    Args:
        places: All tensors in the order of the file.
        weights: Where their elements are, by name in the file.
        dtype: The chosen value of `TYPES`.
        tied: Whether the embedding is the head.

    Returns:
        The tensors, and a note for people if some could not be packed.
    """
    head = "token_embd.weight" if tied else "output.weight"
    tensors, uneven = [], []
    for place in places:
        kind = dtype
        if len(place.shape) == 1 or place.is_exact:
            kind = "F32"
        elif is_packed(dtype):
            kind = _HEAD if place.name == head else dtype
            if place.shape[-1] % BLOCK:
                kind = _UNEVEN
                uneven.append(place.name)
        tensors.append(Tensor(place, weights[place.name], kind))
    return tensors, tuple(_notes(uneven))


def _notes(uneven: Sequence[str]) -> list[str]:
    if not uneven:
        return []
    return [
        f"{len(uneven)} tensor(s) are float16, {uneven[0]} for one: their rows are no whole blocks "
        f"of {BLOCK} numbers"
    ]
