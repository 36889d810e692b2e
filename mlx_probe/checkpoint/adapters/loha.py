"""LoHa: the element-wise product of two low-rank products (FedPara, arXiv 2108.06098)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mlx_probe.checkpoint.adapters.dense import require_linear
from mlx_probe.checkpoint.adapters.protocol import (
    Edit,
    Floats,
    MisfitError,
    Module,
    Product,
    Target,
    Transform,
    Update,
)
from mlx_probe.checkpoint.adapters.scaling import scale_of

__all__ = ["cp_factors", "update"]

_NAMES = ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")


def update(key: str, module: Module, target: Target, config: Mapping[str, Any]) -> Update | None:
    """W' = W + (A_1 B_1) * (A_2 B_2) alpha / r, by elements; see `Scheme.update`."""
    if key == "bias":
        return None
    rows, cols = require_linear(target, "LoHa")
    conv = "hada_t1" in module.pieces
    names = (*_NAMES, "hada_t1", "hada_t2") if conv else _NAMES
    shapes = {name: module.shape(name) for name in names}
    rank = shapes["hada_w1_b"][0]
    outputs = shapes["hada_w1_a"][1 if conv else 0]
    inputs = shapes["hada_w1_b"][1] * (int(np.prod(shapes["hada_t1"][2:])) if conv else 1)
    if (outputs, inputs) != (rows, cols):
        raise MisfitError(f"{rows} x {cols} in A, factors for {outputs} x {inputs} in B")
    scale = scale_of({**config, "use_rslora": False}, module.name, rank, "alpha")

    if module.shape("hada_w2_b") != shapes["hada_w1_b"]:
        raise MisfitError(f"hada_w1_b and hada_w2_b of {module.name} have different shapes")
    # An element-wise product of two products of rank r is a product of rank r^2.
    as_product = 2 * rank**2 <= min(rows, cols)

    def build(pieces: Mapping[str, Floats]) -> Edit:
        sides = [(pieces[f"hada_w{i}_a"], pieces[f"hada_w{i}_b"]) for i in (1, 2)]
        if conv:
            sides = [
                cp_factors(pieces[f"hada_t{i}"], a, b) for i, (a, b) in enumerate(sides, start=1)
            ]
        (left, right), (other_left, other_right) = sides
        if as_product:
            return Product(
                (scale * left[:, :, None] * other_left[:, None, :]).reshape(rows, -1),
                (right[:, None, :] * other_right[None, :, :]).reshape(-1, cols),
            )

        def apply(x: Floats, across: slice, along: slice) -> Floats:
            first = left[across] @ right[:, along]
            first *= other_left[across] @ other_right[:, along]
            first *= scale
            return x + first

        return Transform(apply)

    wanted = {name: module.pieces[name] for name in names}
    return Update(wanted, build, rank=rank**2 if as_product else None)


def cp_factors(core: Floats, a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """A convolution's weight as two factors, from its CP form.

    Args:
        core: Shape (r, r, *kernel).
        a: Shape (r, outputs).
        b: Shape (r, inputs).

    Returns:
        Factors of (outputs, r) and (r, inputs * kernel).
    """
    inner = np.einsum("ijkl,jr->irkl", core, b)
    return np.ascontiguousarray(a.T), inner.reshape(len(core), -1)
