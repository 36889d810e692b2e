"""LoRA and DoRA, with PEFT's variants that can be merged.

Sources: Hu et al. 2021 (arXiv 2106.09685); DoRA: Liu et al. 2024 (arXiv 2402.09353); KaSA: Wang et
al. 2024 (arXiv 2412.06071); PiSSA: Meng et al. 2024 (arXiv 2404.02948); OLoRA: Büyükakyüz 2024
(arXiv 2406.01775). What is added, and what is taken out of the base at load, is that of PEFT 0.21.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mlx_probe.checkpoint.adapters.dense import added, shape_text
from mlx_probe.checkpoint.adapters.protocol import (
    Directions,
    Floats,
    MisfitError,
    Module,
    Product,
    Target,
    Update,
)
from mlx_probe.checkpoint.adapters.scaling import number, scale_of
from mlx_probe.core.errors import PackingError

__all__ = ["orientation", "update"]

# Values of init_lora_weights that leave the base as it is when PEFT loads the adapter.
_BASE_KEPT = ("gaussian", "eva", "orthogonal", "lora_ga", "mica")

# A product's factors from the stored pieces: A of (r, in) and B of (out, r).
_Factors = Callable[[Mapping[str, Floats]], tuple[Floats, Floats]]


def update(key: str, module: Module, target: Target, config: Mapping[str, Any]) -> Update | None:
    """W' = W - removed + B A scale, and the same of a bias; see `Scheme.update`."""
    a_key, b_key = _factor_keys(module)
    rank = _rank(module, target, a_key)
    if key == "bias":
        return _bias(module, target, config, rank)
    scale = _scale(module, config, rank)
    inputs, outputs, factors = _factors(module, target, config, a_key, b_key)
    flipped = orientation(module, target, inputs, outputs)
    magnitude = _magnitude(module, target, config, outputs, flipped)
    diagonal = "lora_diag" if "lora_diag" in module.pieces else None
    if diagonal is not None and module.numel(diagonal) != rank:
        raise MisfitError(f"lora_diag of {module.numel(diagonal)} with {rank} directions")
    wanted = (a_key, b_key, magnitude, diagonal)

    def build(pieces: Mapping[str, Floats]) -> Product:
        a, b = factors(pieces)
        b = b * scale
        if diagonal is not None:
            b = b * pieces[diagonal].reshape(-1)
        norms = None if magnitude is None else pieces[magnitude].reshape(-1)
        if flipped:
            axis = 0 if magnitude == "m" and target.is_table else 1
            return Product(np.ascontiguousarray(a.T), np.ascontiguousarray(b.T), norms, axis)
        return Product(np.ascontiguousarray(b), np.ascontiguousarray(a), norms, 0)

    return Update(
        {piece: module.pieces[piece] for piece in wanted if piece is not None},
        build,
        rank=rank,
        dora=magnitude is not None,
        removed=_removed(module, target, config, rank, scale),
    )


def _factor_keys(module: Module) -> tuple[str, str]:
    for names in (("lora_embedding_A", "lora_embedding_B"), ("lora_a", "lora_b")):
        if names[0] in module.pieces or names[1] in module.pieces:
            break
    else:
        names = ("lora_A", "lora_B")
    if not all(name in module.pieces for name in names):
        raise PackingError("the adapter stores one of two factors")
    return names


def _rank(module: Module, target: Target, a_key: str) -> int:
    shape = module.shape(a_key)
    if len(shape) < 2:
        raise MisfitError(f"{a_key} of {module.name} is no matrix")
    if a_key == "lora_a":
        return shape[-2] if target.expert is not None else shape[-1]
    return shape[0] // target.experts


def _scale(module: Module, config: Mapping[str, Any], rank: int) -> float:
    parameters = config.get("lora_parameters")
    if "lora_a" in module.pieces:
        scale = number(parameters.get("scale")) if isinstance(parameters, Mapping) else None
        if scale is None:
            raise PackingError("adapter_config.json does not give the scale of the factors")
        return scale
    return scale_of(config, module.name, rank, "lora_alpha")


def _factors(
    module: Module, target: Target, config: Mapping[str, Any], a_key: str, b_key: str
) -> tuple[int, int, _Factors]:
    """Inputs and outputs of the product, and its factors A and B from the pieces."""
    shape_a, shape_b = module.shape(a_key), module.shape(b_key)
    if target.expert is not None:
        return _of_expert(target, shape_a, shape_b, a_key, b_key)
    if len(shape_a) < 2 or len(shape_b) < 2:
        raise MisfitError(
            f"factors of {shape_text(shape_a)} and {shape_text(shape_b)} are no matrices"
        )
    if a_key == "lora_a":  # mlx-lm stores (in, r) and (r, out)
        if len(shape_a) > 2 or shape_a[1] != shape_b[0]:
            raise MisfitError(
                f"factors of {shape_text(shape_a)} and {shape_text(shape_b)} do not fit"
            )
        return shape_a[0], shape_b[1], lambda pieces: (pieces[a_key].T, pieces[b_key].T)
    blocks = config.get("use_bdlora")
    count = int(blocks.get("nblocks") or 1) if isinstance(blocks, Mapping) else 1
    inputs, outputs = int(np.prod(shape_a[1:])), shape_b[0]
    rank, other = shape_a[0], int(np.prod(shape_b[1:]))
    # BD-LoRA stores one of the two as blocks on a diagonal.
    cut_a = inputs * count if count > 1 and inputs * count == target.inputs else 0
    cut_b = count > 1 and other * count == rank
    if (other != rank and not cut_b) or (cut_a and cut_b):
        raise MisfitError(f"factors of {shape_text(shape_a)} and {shape_text(shape_b)} do not fit")

    def factors(pieces: Mapping[str, Floats]) -> tuple[Floats, Floats]:
        a, b = pieces[a_key].reshape(rank, -1), pieces[b_key].reshape(outputs, -1)
        return _on_diagonal(a, count) if cut_a else a, _on_diagonal(b, count) if cut_b else b

    return cut_a or inputs, outputs, factors


def _of_expert(
    target: Target, shape_a: tuple[int, ...], shape_b: tuple[int, ...], a_key: str, b_key: str
) -> tuple[int, int, _Factors]:
    """The same of one matrix in a stack of experts."""
    expert, count = target.expert, target.experts
    assert expert is not None
    if a_key == "lora_a" and len(shape_a) == len(shape_b) == 3:  # mlx-lm: (experts, r, in)
        return (
            shape_a[2],
            shape_b[1],
            lambda pieces: (pieces[a_key][expert], pieces[b_key][expert]),
        )
    if len(shape_a) != 2 or len(shape_b) != 2 or shape_a[0] % count or shape_a[0] != shape_b[1]:
        raise MisfitError(
            f"factors of {shape_text(shape_a)} and {shape_text(shape_b)}, {count} experts"
        )
    # PEFT: A holds the experts one after the other, B interleaves them.
    rank = shape_a[0] // count
    return (
        shape_a[1],
        shape_b[0],
        lambda pieces: (
            pieces[a_key][expert * rank : (expert + 1) * rank],
            pieces[b_key][:, expert::count],
        ),
    )


def orientation(module: Module, target: Target, inputs: int, outputs: int) -> bool:
    """Whether the base stores (in, out), so that the product is A.T B.T."""
    rows, cols = target.matrix
    plain, flipped = (outputs, inputs) == (rows, cols), (inputs, outputs) == (rows, cols)
    if not plain and not flipped:
        raise MisfitError(f"{shape_text(target.shape)} in A, factors for {outputs} x {inputs} in B")
    if plain and flipped:
        return target.transposed or target.is_table
    return flipped


def _magnitude(
    module: Module, target: Target, config: Mapping[str, Any], outputs: int, flipped: bool
) -> str | None:
    """The piece with DoRA's norms; None for a plain product."""
    key = "m" if "lora_a" in module.pieces else "lora_magnitude_vector"
    if key in module.pieces and config.get("use_dora") is False:
        raise PackingError("the adapter stores DoRA's norms, and use_dora is false")
    if key not in module.pieces:
        if config.get("use_dora") is True or config.get("fine_tune_type") == "dora":
            raise PackingError("use_dora, but the adapter does not store DoRA's norms")
        return None
    if target.expert is not None:
        raise PackingError("DoRA's norms of stacked experts are not understood")
    # mlx-lm takes the norms of the stored rows of an embedding, PEFT those of its columns.
    expected = target.matrix[0] if key == "m" and target.is_table else outputs
    if module.pieces[key].numel != expected:
        raise PackingError("DoRA's norms do not fit the rows of the weight")
    return key


def _removed(
    module: Module, target: Target, config: Mapping[str, Any], rank: int, scale: float
) -> Directions | None:
    """What PEFT takes out of the base before it adds the factors."""
    if "lora_a" in module.pieces:
        return None
    start = config.get("init_lora_weights", True)
    if config.get("kasa_config") is not None:
        if "lora_diag" not in module.pieces:
            raise PackingError("kasa_config, but the adapter does not store lora_diag")
        if target.transposed or target.is_table or len(target.shape) != 2:
            raise PackingError("PEFT has KaSA for linear layers only")
        return Directions("kasa", rank, 1.0)
    if not isinstance(start, str) or start.lower() in _BASE_KEPT:
        return None
    if target.is_table:
        return None
    simple = len(target.shape) == 2 and target.expert is None
    if start == "pissa" and simple:
        return Directions("pissa", rank, 1.0)
    if start.lower() == "olora" and simple and not target.transposed:
        return Directions("olora", rank, scale)
    raise PackingError(
        f"init_lora_weights is {start!r}: it changes the base when the adapter is loaded, in a way "
        "that the files do not show"
    )


def _bias(module: Module, target: Target, config: Mapping[str, Any], rank: int) -> Update | None:
    """``lora_bias``: a bias beside the factors, with their scale."""
    if "lora_B.bias" not in module.pieces:
        return None
    if config.get("lora_bias") is False:
        raise PackingError("the adapter stores a bias beside its factors, and lora_bias is false")
    return added(module, target, "lora_B.bias", _scale(module, config, rank))


def _on_diagonal(stacked: Floats, count: int) -> Floats:
    """Blocks that lie above each other, put on a diagonal."""
    rows, cols = stacked.shape[0] // count, stacked.shape[1]
    out = np.zeros((stacked.shape[0], cols * count))
    for i in range(count):
        lines = slice(i * rows, (i + 1) * rows)
        out[lines, i * cols : (i + 1) * cols] = stacked[lines]
    return out
