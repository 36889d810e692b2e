"""The guard: a weight is read only if everything that lies beside it is understood.

A packing that is not known looks like a known one, or like plain numbers, to a reader that asks
for the pieces it knows only. So the question is turned round: which tensors under the same name
are left over once every packing has taken its pieces? What they do to the values is unknown, and
the weight is skipped. The same goes for a format that config.json declares and the packing does
not implement.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence

from mlx_probe.checkpoint.naming.classify import classify

__all__ = ["HARMLESS", "Neighbours", "foreign_method", "stem_of"]

# What may lie beside a weight without changing its values: the module's bias and the router's,
# what norms count, adapters (which have rows of their own), and scales of activations, of the
# embedded tokens and of the KV cache.
HARMLESS = re.compile(
    r"bias|(?:e_score_correction|expert|router|\w+_proj)_bias"
    r"|num_batches_tracked|running_(?:mean|var)|tid2eid|embed_scale|eoi_embedding"
    r"|quant_(?:key|value)_(?:scale|zero)"
    r"|lora_(?:a|b|A|B|magnitude_vector)"
    r"|(?:in|input|act|activation|output|scale)_(?:in|input|scale|amax|zero_point)(?:_inv|_ub)?"
    r"|(?:input|output)_global_scale"
    r"|(?:[qkv]|kv|kv_cache|prob_output|softmax|bmm|attn)_(?:output_)?(?:scale|zero_point)"
)


class Neighbours:
    """Finds the tensors that lie beside a weight and that no packing understands.

    Args:
        names: Names of the stored tensors that are no piece of any packed weight.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = sorted(names)

    def beside(self, stem: str, *own: str) -> Iterator[str]:
        """Tensors whose effect on a weight is not known.

        Args:
            stem: Name of its module; a parameter's own name where it has no module.
            own: Names of the weight and of its pieces.

        Yields:
            Names: ``STEM.one_segment``, ``STEM_word``, and everything below one of ``own``.
        """
        seen = set(own)
        for name in sorted({below for piece in own for below in self.below(piece)}):
            seen.add(name)
            yield name
        for name in self._starting_with(f"{stem}." if stem else ""):
            end = name[len(stem) + 1 if stem else 0 :]
            if name not in seen and "." not in end and not HARMLESS.fullmatch(end):
                yield name
        for name in self._starting_with(f"{stem}_") if stem else ():
            end = name[len(stem) + 1 :]
            # ``q`` and ``q_norm``: a name with a meaning of its own is another parameter's.
            mine = "." not in end and not HARMLESS.fullmatch(end) and _has_no_role(name)
            if name not in seen and mine:
                yield name

    def within(self, stem: str) -> Iterator[str]:
        """Tensors of the module ``stem``, at any depth, without a meaning of their own."""
        for name in self.below(stem) if stem else ():
            if not HARMLESS.fullmatch(name.rpartition(".")[2]) and _has_no_role(name):
                yield name

    def below(self, name: str) -> Iterator[str]:
        """Tensors whose names go on after ``name`` and a dot."""
        return self._starting_with(f"{name}.")

    def _starting_with(self, prefix: str) -> Iterator[str]:
        for place in range(bisect_left(self._names, prefix), len(self._names)):
            if not self._names[place].startswith(prefix):
                return
            yield self._names[place]


def _has_no_role(name: str) -> bool:
    return classify(name).block_type in ("other", "quantization")


def stem_of(name: str) -> str:
    """The module of a weight, by its name in the model: ``mlp.up_proj`` of ``mlp.up_proj.weight``.

    A fused parameter (``experts.gate_up_proj``) is its own.
    """
    return name[: -len("weight")].rstrip(".") if name.rpartition(".")[2] == "weight" else name


def foreign_method(packing: str, methods: Sequence[str] | None, declared: object) -> str | None:
    """Why a weight is not of the packing that claims it; None if it may be.

    Args:
        packing: Key of `PACKINGS`.
        methods: `Packing.methods`.
        declared: ``quant_method`` of config.json, None without one.
    """
    if declared is None or methods is None or declared in methods:
        return None
    return (
        f"its pieces are named like those of {packing}, but config.json declares the quantization "
        f"{declared!r}, which stores them differently or is not known"
    )
