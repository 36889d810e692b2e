"""Tensors that no packing claims: which of them are the weights that they seem to be.

Most are: floats, and tables of integers that models keep beside their weights. The others are
pieces of weights that are packed in a way not known here. Their values are codes, or wait for a
scale, and statistics of them would be wrong numbers.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from mlx_probe.checkpoint.guard import HARMLESS, Neighbours, stem_of
from mlx_probe.checkpoint.naming.classify import classify
from mlx_probe.core.dtypes import DTYPES
from mlx_probe.core.records import TensorInfo

__all__ = ["Problem", "plain_problems"]

# Integers of no more elements are settings and counters, whatever they are called.
_HANDFUL = 16
# Of all stored bytes: a table of integers with no piece beside it and a smaller share is no weight.
_SMALL_SHARE = 0.01

# Integer buffers of models, and files that are packed into a checkpoint (ComfyUI's tokenizers).
_TABLES = re.compile(
    r"(?!\w*g_idx)(?:\w+_)?(?:ids?|idx|idxs|masks?|positions?|offsets?|ordering|boundaries|bbox|buckets?)"
    r"|(?:\w+_)?position_index|special_tokens|\w+_(?:sizes|lengths|multipliers|frames)|af2_to_esm"
    r"|spiece_model|tekken_model|tokenizer(?:_\w+)?"
)
# What scales a weight that is stored beside it.
_SCALE = re.compile(
    r"(?:_?(?:weight|w|q|qweight|quant)_?)?scales?(?:_inv|_weight|_\d|_2|_w)?|W?scale"
    r"|_?weight_(?:scale\w*|global_scale|zero_point|zeros|shift)|q?zeros?|zero_points?|biases"
    r"|SCB|S[UV]|su|sv|suh|svh"
)
# Tables of values that the codes of a module point to, which are modules themselves.
_CODEBOOK = re.compile(r"(?:\w+_)?(?:centroids|codebooks?)\.weight")
# I-BERT keeps what its integer arithmetic needs beside weights that are floats.
_INTEGER_ONLY = re.compile(
    r"(?:\w*_)?(?:act|fc|norm)_scaling_factor|x_m(?:in|ax)|(?:weight|bias)_integer|shift"
)
# A piece below the name of its weight: tensor subclasses are stored so.
_BELOW_WEIGHT = re.compile(r"(?:^|\.)(?<!parametrizations\.)weight[.:]")
# Says, in the name of an empty tensor or in the metadata, that 8-bit floats have scales.
_MARKER = "scaled_fp8"
_MARKING_METADATA = "_quantization_metadata"


@dataclass(frozen=True)
class Problem:
    """Why a tensor is not read.

    Attributes:
        reason: For the row.
        incidental: Whether nothing of the model is lost with it: it is no weight.
        codes: Whether its elements are codes, so that what lies beside it belongs to it.
        orphan: Whether its name is that of a piece, and no weight that it belongs to is read.
    """

    reason: str
    incidental: bool = False
    codes: bool = False
    orphan: bool = False


def plain_problems(
    left: Sequence[TensorInfo],
    packed: Collection[TensorInfo],
    settings: Mapping[str, Any],
    metadata: Mapping[str, Any],
    strangers: Mapping[str, str],
) -> dict[str, Problem]:
    """Find the tensors whose elements are not the model's numbers.

    Args:
        left: Tensors that are no piece of a packed weight.
        packed: Main pieces of the packed weights.
        settings: The quantization that config.json declares; empty without one.
        metadata: The files' own metadata.
        strangers: Names of those of ``left`` that lie beside an unread packed weight; and its name.

    Returns:
        Name to problem; tensors that are not in it are read as they are.
    """
    judge = _Judge(left, packed, settings, metadata)
    problems = {tensor.name: judge.problem(tensor) for tensor in left}
    known = {name: problem for name, problem in problems.items() if problem is not None}
    if not packed and not settings and not any(_is_loss(t, known.get(t.name)) for t in left):
        # Nothing is quantized: what is called a scale here is a parameter of some other kind.
        known = {name: replace(problem, incidental=True) for name, problem in known.items()}
    for name, owner in strangers.items():
        known.setdefault(name, Problem(f"lies beside {owner}, which is packed and not understood"))
    return {**judge.pieces_beside(known), **known}


def _is_loss(tensor: TensorInfo, problem: Problem | None) -> bool:
    """Whether a problem is more than a float that has the name of a scale."""
    if problem is None or problem.incidental:
        return False
    scale = problem.orphan and _kind(tensor) == "float"
    return not scale or _BELOW_WEIGHT.search(tensor.name) is not None


class _Judge:
    """Judges single tensors by their type, name and neighbours."""

    def __init__(
        self,
        left: Sequence[TensorInfo],
        packed: Collection[TensorInfo],
        settings: Mapping[str, Any],
        metadata: Mapping[str, Any],
    ) -> None:
        self._tensors = {tensor.name: tensor for tensor in left}
        self._neighbours = Neighbours(self._tensors)
        self._method = settings.get("quant_method")
        # This format stores finished values, with the scales that they were rounded by.
        self._finished = self._method == "compressed-tensors" and settings.get("format") == "dense"
        self._packed, self._metadata = packed, metadata
        self._total = sum(tensor.nbytes for tensor in (*left, *packed))

    def problem(self, tensor: TensorInfo) -> Problem | None:
        """Why a tensor cannot be read as it is; None if it can, or if that depends on others."""
        block_type = classify(tensor.name).block_type
        if tensor.problem:
            return Problem(tensor.problem, incidental=block_type in ("buffer", "rope"))
        end = _end(tensor.name)
        if end == _MARKER:
            return Problem("a marker of scaled 8-bit floats, no weight", incidental=True)
        named_so = block_type == "other" and _SCALE.fullmatch(end)
        if block_type == "quantization" or named_so or _BELOW_WEIGHT.search(tensor.name):
            declared = f" ({self._method})" if self._method is not None else ""
            return Problem(
                f"belongs to a packed weight{declared} that is not there or not understood",
                incidental=self._is_incidental_piece(tensor.name),
                orphan=True,
            )
        kind = _kind(tensor)
        if tensor.dtype.startswith("F8_"):
            return self._of_small_float(tensor, block_type)
        if kind == "float":
            return self._of_float(tensor)
        return self._of_integers(tensor, block_type) if kind == "int" else None

    def pieces_beside(self, problems: Mapping[str, Problem]) -> dict[str, Problem]:
        """Pieces of the weights that are not understood: they are no weights of their own."""
        pieces = {}
        # Codes last: what is a scale beside them belongs to them.
        for name, problem in sorted(problems.items(), key=lambda item: item[1].codes):
            module = name.rpartition(".")[0]
            if not (problem.codes or problem.orphan) or problem.incidental or not module:
                continue
            # Beside a parameter of a known name (``experts.up_proj``) others have a known one too.
            kinds = ("other", "quantization", classify(name).block_type)
            beside = self._neighbours.beside(module, name)
            for piece in (n for n in beside if classify(n).block_type in kinds):
                pieces[piece] = Problem(f"belongs to {name}, which is packed and not understood")
            if name == f"{module}.weight":
                for piece in self._neighbours.within(module):
                    pieces[piece] = Problem(f"belongs to {name}, which is not understood")
            for piece in self._neighbours.below(module):
                if _CODEBOOK.fullmatch(piece[len(module) + 1 :]):
                    pieces[piece] = Problem(f"belongs to {name}, which is not understood")
        return pieces

    @cached_property
    def _scaled(self) -> str | None:
        """Why 8-bit floats without a scale are suspect; None if nothing says so."""
        if self._method is not None:
            return f"config.json declares the quantization {self._method!r}"
        marker = next((name for name in self._tensors if _end(name) == _MARKER), None)
        if marker is not None or _MARKING_METADATA in self._metadata:
            return f"{marker or _MARKING_METADATA} says that 8-bit floats have scales"
        scaled = next((tensor for tensor in self._packed if tensor.dtype.startswith("F8_")), None)
        if scaled is not None:
            return f"others have one ({scaled.name})"
        orphan = next(
            (
                name
                for name in self._tensors
                if classify(name).block_type == "quantization"
                and not self._is_incidental_piece(name)
            ),
            None,
        )
        return None if orphan is None else f"{orphan} has no weight"

    def _of_small_float(self, tensor: TensorInfo, block_type: str) -> Problem | None:
        beside = next(self._neighbours.beside(stem_of(tensor.name), tensor.name), None)
        if beside is not None:
            reason = f"{tensor.dtype} with {beside} beside it, whose effect is not known"
        elif self._scaled is not None:
            reason = f"{tensor.dtype} without its scale: {self._scaled}"
        elif block_type == "other" and _end(tensor.name) not in ("weight", "bias"):
            reason = f"{tensor.dtype} under a name that is not known to be a weight's"
        else:
            return None
        return Problem(reason, codes=True)

    def _of_float(self, tensor: TensorInfo) -> Problem | None:
        if self._finished or len(tensor.shape) < 2:
            return None
        stem = stem_of(tensor.name)
        for name in self._neighbours.beside(stem, tensor.name):
            end = name[len(stem) + 1 :]
            if name.startswith(f"{tensor.name}.") or _SCALE.fullmatch(end):
                return Problem(f"{name} lies beside it, and its effect on the values is not known")
        return None

    def _of_integers(self, tensor: TensorInfo, block_type: str) -> Problem | None:
        table = block_type in ("buffer", "rope") or _TABLES.fullmatch(_end(tensor.name))
        if not tensor.shape or table or (block_type == "other" and tensor.numel <= _HANDFUL):
            return None
        module = tensor.name.rpartition(".")[0]
        where = "under an unknown name" if block_type == "other" else "in place of weights"
        way = "a way" if self._method is None else f"a way ({self._method})"
        lonely = next(self._neighbours.beside(module, tensor.name), None) is None
        small = tensor.nbytes < _SMALL_SHARE * self._total
        return Problem(
            f"{tensor.dtype} integers {where}: packed in {way} not understood",
            incidental=block_type == "other" and lonely and small and self._method is None,
            codes=True,
        )

    def _is_incidental_piece(self, name: str) -> bool:
        """Whether a piece changes no weight: it concerns activations, or the weight is whole."""
        end = _end(name)
        return bool(HARMLESS.fullmatch(end) or _INTEGER_ONLY.fullmatch(end))


def _kind(tensor: TensorInfo) -> str | None:
    return DTYPES[tensor.dtype].kind if tensor.dtype in DTYPES else None


def _end(name: str) -> str:
    return name.rpartition(".")[2]
