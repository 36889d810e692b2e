"""LoKr: a Kronecker product of two matrices (Yeh et al. 2023, arXiv 2309.14859)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mlx_probe.checkpoint.adapters.dense import require_linear
from mlx_probe.checkpoint.adapters.loha import cp_factors
from mlx_probe.checkpoint.adapters.protocol import (
    Floats,
    MisfitError,
    Module,
    Target,
    Transform,
    Update,
)
from mlx_probe.checkpoint.adapters.scaling import scale_of
from mlx_probe.core.errors import PackingError

__all__ = ["update"]

_NAMES = ("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2")


def update(key: str, module: Module, target: Target, config: Mapping[str, Any]) -> Update | None:
    """W' = W + kron(W_1, W_2) alpha / r; see `Scheme.update`."""
    if key == "bias":
        return None
    rows, cols = require_linear(target, "LoKr")
    names = [name for name in _NAMES if name in module.pieces]
    first, second = _shape(module, "lokr_w1"), _shape(module, "lokr_w2")
    outputs, inputs = first[0] * second[0], first[1] * int(np.prod(second[1:]))
    if (outputs, inputs) != (rows, cols):
        raise MisfitError(f"{rows} x {cols} in A, factors for {outputs} x {inputs} in B")
    scale = scale_of({**config, "use_rslora": False}, module.name, None, "alpha")
    # A kernel of one axis: PEFT multiplies (a, c) and (b, d, k) as torch.kron does, which aligns
    # the last axes, and gives the elements the base's shape in their order.
    kernel = len(second) == 3

    def build(pieces: Mapping[str, Floats]) -> Transform:
        w1, w2 = _matrix(pieces, "lokr_w1"), _matrix(pieces, "lokr_w2")
        if kernel:
            whole = np.kron(w1, w2).reshape(rows, cols) * scale
            return Transform(lambda x, across, along: x + whole[across, along])
        w1, w2 = w1 * scale, w2.reshape(len(w2), -1)

        def apply(x: Floats, across: slice, along: slice) -> Floats:
            i, inner_i = np.divmod(np.arange(rows)[across], w2.shape[0])
            j, inner_j = np.divmod(np.arange(cols)[along], w2.shape[1])
            return np.asarray(x + w1[np.ix_(i, j)] * w2[np.ix_(inner_i, inner_j)])

        return Transform(apply)

    return Update({name: module.pieces[name] for name in names}, build)


def _shape(module: Module, name: str) -> tuple[int, ...]:
    """Shape of a factor that is stored whole, as a product, or in CP form."""
    if name in module.pieces:
        return module.shape(name)
    a, b = module.shape(f"{name}_a"), module.shape(f"{name}_b")
    if name == "lokr_w2" and "lokr_t2" in module.pieces:
        return (a[1], b[1], *module.shape("lokr_t2")[2:])
    if len(a) != 2 or len(b) != 2 or a[1] != b[0]:
        raise PackingError(f"{name}_a and {name}_b of {module.name} do not fit")
    return a[0], b[1]


def _matrix(pieces: Mapping[str, Floats], name: str) -> Floats:
    if name in pieces:
        return pieces[name]
    a, b = pieces[f"{name}_a"], pieces[f"{name}_b"]
    if name == "lokr_w2" and "lokr_t2" in pieces:
        left, right = cp_factors(pieces["lokr_t2"], a, b)
        return left @ right
    return a @ b
