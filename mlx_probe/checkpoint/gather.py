"""From stored tensors to the parameters of the model: plain ones, and packed ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any, cast

from mlx_probe.checkpoint.architecture import read_architecture
from mlx_probe.checkpoint.guard import Neighbours, foreign_method, stem_of
from mlx_probe.checkpoint.packings import PACKINGS
from mlx_probe.checkpoint.packings.protocol import Claim, Context, Scheme
from mlx_probe.checkpoint.parameter import PLAIN, Parameter
from mlx_probe.checkpoint.plain import Problem, plain_problems
from mlx_probe.core.errors import PackingError
from mlx_probe.core.records import TensorInfo

__all__ = ["gather_parameters", "quantization_settings"]


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
    architecture = read_architecture(config, metadata)
    context = Context(
        tensors={tensor.name: tensor for tensor in tensors},
        settings=quantization_settings(config),
        read=read,
        metadata=metadata,
        width=architecture.hidden_size,
        vocabulary=architecture.vocab_size,
    )
    schemes = {name: cast(Scheme, import_module(p.scheme)) for name, p in PACKINGS.items()}
    claims, robbed = _claims(tensors, schemes, context)
    taken = {piece.name for _, claim in claims.values() for piece in (*claim.pieces, *claim.extra)}
    left = [tensor for tensor in tensors if tensor.name not in taken]
    neighbours = Neighbours(tensor.name for tensor in left)
    names = Counter(claim.name for _, claim in claims.values())
    strangers: dict[str, str] = {}
    packed = {}
    for main, (name, claim) in claims.items():
        own = (claim.name, *(piece.name for piece in (*claim.pieces, *claim.extra)))
        beside = list(neighbours.beside(stem_of(claim.name), *own))
        strangers |= dict.fromkeys(beside, claim.name)
        taken_name = claim.name != main and claim.name in context.tensors
        unique = names[claim.name] == 1 and not taken_name and main not in robbed
        packed[main] = _packed(name, schemes[name], claim, context, beside, unique)
        if packed[main].problem is not None:
            # What lies below an unread weight is none of its own, under whatever name.
            strangers |= dict.fromkeys(neighbours.within(stem_of(claim.name)), claim.name)
            strangers |= {claim.name: main} if taken_name else {}
    mains = [claim.pieces[0] for _, claim in claims.values()]
    problems = plain_problems(left, mains, context.settings, metadata, strangers)
    plain = {tensor.name: _plain(tensor, problems.get(tensor.name)) for tensor in left}
    parameters = packed | plain
    return tuple(parameters[tensor.name] for tensor in tensors if tensor.name in parameters)


def _claims(
    tensors: Sequence[TensorInfo], schemes: Mapping[str, Scheme], context: Context
) -> tuple[dict[str, tuple[str, Claim]], set[str]]:
    """Main piece to packing and claim; and the main pieces whose other pieces are another's.

    No tensor is in two claims: the later one is left with its main piece alone.
    """
    claims: dict[str, tuple[str, Claim]] = {}
    taken: set[str] = set()
    robbed: set[str] = set()
    for tensor in tensors:
        if tensor.name in taken:
            continue
        for name, scheme in schemes.items():
            claim = scheme.claim(tensor, context)
            if claim is not None:
                pieces = {piece.name for piece in (*claim.pieces, *claim.extra)}
                if pieces & taken:
                    claim = Claim(claim.name, claim.pieces[:1])
                    pieces = {tensor.name}
                    robbed.add(tensor.name)
                claims[tensor.name] = name, claim
                taken |= pieces
                break
    return claims, robbed


def _plain(tensor: TensorInfo, problem: Problem | None) -> Parameter:
    return Parameter(
        *(tensor.name, tensor.dtype, tensor.shape, PLAIN, "", (tensor,)),
        problem=problem.reason if problem else None,
        incidental=problem is not None and problem.incidental,
    )


def _packed(
    packing: str,
    scheme: Scheme,
    claim: Claim,
    context: Context,
    beside: Sequence[str],
    unique: bool,
) -> Parameter:
    main = claim.pieces[0]
    try:
        if not unique:
            # It keeps its own name: names of rows are unique.
            whole, claim = claim.name, replace(claim, name=main.name)
            raise PackingError(f"{main.name}: packed, though {whole} is there as well")
        _refuse_unknown(packing, claim, context, beside)
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
        encoding=layout.encoding,
    )


def _refuse_unknown(packing: str, claim: Claim, context: Context, beside: Sequence[str]) -> None:
    """Refuse a weight of another declared format, or with pieces that are not understood."""
    methods = PACKINGS[packing].methods
    problem = foreign_method(packing, methods, context.settings.get("quant_method"))
    if beside and problem is None:
        problem = f"{beside[0]} lies beside it, and its effect on the values is not known"
    if problem is not None:
        raise PackingError(f"{claim.name}: {problem}")


def quantization_settings(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Settings of the quantization in config.json; MLX's key comes first, as in mlx-lm."""
    for owner in (config, config.get("text_config")):
        for key in ("quantization", "quantization_config"):
            if isinstance(owner, Mapping) and isinstance(owner.get(key), Mapping):
                return owner[key]  # type: ignore[no-any-return]
    return {}
