"""Stored tensors gathered to the parameters of the model: plain ones, and packed ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from mlx_probe.checkpoint.naming.classify import classify
from mlx_probe.checkpoint.packings import PACKINGS
from mlx_probe.checkpoint.packings.protocol import Claim, Context, Decode
from mlx_probe.core.dtypes import DTYPES
from mlx_probe.core.errors import PackingError
from mlx_probe.core.records import TensorInfo

__all__ = ["PLAIN", "Parameter", "gather_parameters"]

# The packing of a tensor whose elements lie as numbers.
PLAIN = "plain"

# What is stored beside the weights and may be of integers.
_NOT_WEIGHTS = ("buffer", "rope", "other")


@dataclass(frozen=True)
class Parameter:
    """A parameter of the model: one stored tensor, or the pieces of a packed one.

    Attributes:
        name: Its name in the model.
        dtype: Stored type of the main piece.
        shape: Logical shape, PyTorch order.
        packing: Key of `PACKINGS`, or `PLAIN`.
        detail: What the packing does here ("4 bit, group 64"); "" if plain.
        pieces: Stored tensors that make its values, the main one first.
        extra: Stored tensors that belong to it without entering its values.
        decode: Turns blocks of pieces into values; None if plain.
        row_major: See `Layout`.
        problem: Why it cannot be read; None if it can.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    packing: str
    detail: str
    pieces: tuple[TensorInfo, ...]
    extra: tuple[TensorInfo, ...] = ()
    decode: Decode | None = None
    row_major: bool = True
    problem: str | None = None

    @property
    def numel(self) -> int:
        """Number of logical elements."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes as stored, scales and all."""
        return sum(piece.nbytes for piece in (*self.pieces, *self.extra))

    @property
    def stored_as(self) -> str:
        """Stored type and packing, as people say it ("BF16", "mlx 4 bit, group 64")."""
        if self.packing == PLAIN:
            return self.dtype
        told = self.dtype if self.dtype in self.detail else self.detail
        return f"{self.packing} {told}".strip()

    @property
    def chunk_dtype(self) -> str:
        """Key of `DTYPES` that its elements are read as."""
        return self.dtype if self.decode is None else "F32"


def gather_parameters(
    tensors: Sequence[TensorInfo],
    config: Mapping[str, Any],
    read: Callable[[TensorInfo], bytes],
) -> tuple[Parameter, ...]:
    """Group the pieces of packed weights; every stored tensor ends up in one parameter.

    Args:
        tensors: All stored tensors in reading order.
        config: config.json.
        read: Reads the bytes of a small tensor.

    Returns:
        Parameters in the order of their main pieces. What cannot be understood (pieces that
        do not fit together, integers of an unknown packing, scales whose weight is missing)
        is a parameter with a problem.
    """
    context = Context({tensor.name: tensor for tensor in tensors}, _settings(config), read)
    claims: dict[str, tuple[str, Claim]] = {}
    taken: set[str] = set()
    for tensor in tensors:
        for name, packing in PACKINGS.items():
            claim = packing.claim(tensor, context)
            if claim is not None:
                claims[tensor.name] = name, claim
                taken.update(piece.name for piece in (*claim.pieces, *claim.extra))
                break
    parameters = []
    for tensor in tensors:
        if tensor.name in claims:
            parameters.append(_packed(*claims[tensor.name], context))
        elif tensor.name not in taken:
            problem = tensor.problem or _misread(tensor, context.settings)
            parameters.append(
                Parameter(
                    tensor.name, tensor.dtype, tensor.shape, PLAIN, "", (tensor,), problem=problem
                )
            )
    return tuple(parameters)


def _packed(packing: str, claim: Claim, context: Context) -> Parameter:
    main = claim.pieces[0]
    try:
        if claim.name != main.name and claim.name in context.tensors:
            # Under its own name: rows are told apart by names.
            unpacked, claim = claim.name, replace(claim, name=main.name)
            raise PackingError(f"{main.name}: packed, though {unpacked} is there as well")
        layout = PACKINGS[packing].layout(claim, context)
    except PackingError as error:
        return Parameter(
            *(claim.name, main.dtype, main.shape, packing, "", claim.pieces, claim.extra),
            problem=error.fact,
        )
    return Parameter(
        *(claim.name, main.dtype, layout.shape, packing, layout.detail, claim.pieces, claim.extra),
        decode=layout.decode,
        row_major=layout.row_major,
    )


def _settings(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """What config.json says of the quantization; MLX's key comes first, as in mlx-lm."""
    for owner in (config, config.get("text_config")):
        for key in ("quantization", "quantization_config"):
            if isinstance(owner, Mapping) and isinstance(owner.get(key), Mapping):
                return owner[key]  # type: ignore[no-any-return]
    return {}


def _misread(tensor: TensorInfo, settings: Mapping[str, Any]) -> str | None:
    """Why a tensor that no packing claimed is no weight as it lies; None if it may be one."""
    block_type = classify(tensor.name).block_type
    if block_type == "quantization":
        return "belongs to a packed weight that is not there or not understood"
    method = settings.get("quant_method")
    if len(tensor.shape) < 2 or block_type in _NOT_WEIGHTS:
        return None
    if DTYPES[tensor.dtype].kind == "float":
        unscaled = method is not None and tensor.dtype.startswith("F8_")
        return f"{tensor.dtype} of {method} quantization without its scale" if unscaled else None
    return f"{tensor.dtype} integers in place of weights: packed in a way ({method}) not understood"
