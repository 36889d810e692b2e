"""From stored tensors to the parameters of the model: plain ones, and packed ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any, cast

from mlx_probe.checkpoint.guard import Neighbours, foreign_method, stem_of
from mlx_probe.checkpoint.naming.classify import classify
from mlx_probe.checkpoint.packings import PACKINGS
from mlx_probe.checkpoint.packings.protocol import Claim, Context, Scheme
from mlx_probe.checkpoint.parameter import PLAIN, Parameter
from mlx_probe.core.dtypes import DTYPES
from mlx_probe.core.errors import PackingError
from mlx_probe.core.records import TensorInfo

__all__ = ["gather_parameters"]

# Block types of tensors that are not weights and may have integers.
_NOT_WEIGHTS = ("buffer", "rope", "other")


def gather_parameters(
    tensors: Sequence[TensorInfo],
    config: Mapping[str, Any],
    read: Callable[[TensorInfo], bytes],
    metadata: Mapping[str, Any],
) -> tuple[Parameter, ...]:
    """Group the pieces of packed weights; every stored tensor is in exactly one parameter.

    Args:
        tensors: All stored tensors in reading order.
        config: config.json.
        read: Reads the bytes of a small tensor.
        metadata: The files' own metadata, where some packings put their settings.

    Returns:
        Parameters in the order of their main pieces. `Parameter.problem` is set for pieces that
        do not fit together, integers of an unknown packing, and scales without a weight.
    """
    context = Context(
        {tensor.name: tensor for tensor in tensors}, _settings(config), read, metadata
    )
    schemes = {name: cast(Scheme, import_module(p.scheme)) for name, p in PACKINGS.items()}
    claims: dict[str, tuple[str, Claim]] = {}
    taken: set[str] = set()
    for tensor in tensors:
        for name, scheme in schemes.items():
            claim = scheme.claim(tensor, context)
            if claim is not None:
                claims[tensor.name] = name, claim
                taken.update(piece.name for piece in (*claim.pieces, *claim.extra))
                break
    neighbours = Neighbours(context.tensors.keys() - taken)
    parameters = []
    for tensor in tensors:
        if tensor.name in claims:
            name, claim = claims[tensor.name]
            parameters.append(_packed(name, schemes[name], claim, context, neighbours))
        elif tensor.name not in taken:
            problem = tensor.problem or _misread(tensor, context.settings)
            parameters.append(
                Parameter(
                    tensor.name, tensor.dtype, tensor.shape, PLAIN, "", (tensor,), problem=problem
                )
            )
    return tuple(parameters)


def _packed(
    packing: str, scheme: Scheme, claim: Claim, context: Context, neighbours: Neighbours
) -> Parameter:
    main = claim.pieces[0]
    stem = stem_of(claim.name)
    try:
        if claim.name != main.name and claim.name in context.tensors:
            # It keeps its own name: names of rows are unique.
            unpacked, claim = claim.name, replace(claim, name=main.name)
            raise PackingError(f"{main.name}: packed, though {unpacked} is there as well")
        _refuse_unknown(packing, claim, context, neighbours.beside(stem, main.name))
        layout = scheme.layout(claim, context)
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


def _refuse_unknown(packing: str, claim: Claim, context: Context, beside: Iterable[str]) -> None:
    """Refuse a weight of another declared format, or with pieces that are not understood."""
    methods = PACKINGS[packing].methods
    problem = foreign_method(packing, methods, context.settings.get("quant_method"))
    stranger = next(iter(beside), None)
    if stranger is not None:
        problem = f"{stranger} lies beside it, and its effect on the values is not known"
    if problem is not None:
        raise PackingError(f"{claim.name}: {problem}")


def _settings(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Settings of the quantization in config.json; MLX's key comes first, as in mlx-lm."""
    for owner in (config, config.get("text_config")):
        for key in ("quantization", "quantization_config"):
            if isinstance(owner, Mapping) and isinstance(owner.get(key), Mapping):
                return owner[key]  # type: ignore[no-any-return]
    return {}


def _misread(tensor: TensorInfo, settings: Mapping[str, Any]) -> str | None:
    """Why a tensor that no packing claimed cannot be read as it is; None if it can."""
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
