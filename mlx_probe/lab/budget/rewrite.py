"""A model with every choice of a plan made: tensors that are computed when they are written.

mlx-lm's own `quantize_model` packs what is plain, with the plan as its predicate, and so writes
config.json as `mlx_lm.convert` does. All of it is lazy: a module's arrays are evaluated when the
first of them is written, and given back with the last.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
from mlx import nn

from mlx_probe.core.dtypes import DTYPES
from mlx_probe.core.errors import ResultError
from mlx_probe.lab.budget.factors import factorize
from mlx_probe.lab.budget.lowrank_layout import lowrank_config
from mlx_probe.lab.budget.matrices import arrays_of
from mlx_probe.lab.budget.measure import FLOATS
from mlx_probe.lab.budget.records import BudgetPlan, Chosen, Matrix, Way
from mlx_probe.lab.budget.tensors import tensors
from mlx_probe.lab.elements import converted
from mlx_probe.lab.export.mlx_layout import load_lazily
from mlx_probe.lab.tensor_stream import StoredTensor, TensorSpec
from mlx_probe.lab.tensors_file import DTYPES as MLX_DTYPES
from mlx_probe.lab.tensors_file import stored

__all__ = ["Rewritten", "rewrite"]

_MLX = {name: kind for kind, name in MLX_DTYPES.items()}
# As mlx-lm calls what belongs to a packed weight.
_WEIGHT = ("weight", "scales", "biases")


@dataclass(frozen=True)
class Rewritten:
    """A model that is about to be written.

    Attributes:
        tensors: Its tensors; their bytes are computed when they are asked for.
        config: Its config.json, as `mlx_lm.utils.save_config` takes it.
        keeps_vision: Whether config.json keeps its part about vision.
    """

    tensors: tuple[StoredTensor, ...]
    config: dict[str, Any]
    keeps_vision: bool


def rewrite(plan: BudgetPlan, on_bytes: Callable[[int], None] = lambda count: None) -> Rewritten:
    """Make the choices of a plan; nothing is evaluated yet.

    Args:
        plan: The plan.
        on_bytes: Called with the bytes that were made.

    Raises:
        ConfigError: mlx-lm does not load the model.
        ResultError: The model is not the one that was planned.
    """
    model, config = load_lazily(Path(plan.folder), "budget")
    keeps_vision = "vision_tower" in getattr(model, "model", {})
    packed = [each for each in plan.chosen if each.choice.way is not None]
    cut = [each for each in plan.chosen if each.choice.rank is not None]
    _refuse_another(model, plan)
    config = dict(config)
    if plan.dtype != "auto":
        config |= {"dtype": plan.dtype, "torch_dtype": plan.dtype}
    modules = dict(model.named_modules())
    weights = {each.matrix.path: _logical(modules[each.matrix.path], each.matrix) for each in cut}
    if packed:
        config = _packed(model, config, packed)
    arrays = arrays_of(model)
    # Nothing but the arrays: what is written is given back.
    del model, modules
    for each in cut:
        for name in _WEIGHT:
            arrays.pop(f"{each.matrix.path}.{name}", None)
    if cut:
        config = lowrank_config(config, {each.matrix.path: each.choice.rank or 0 for each in cut})
    source = _Source(arrays, weights, on_bytes)
    specs = [(each, spec) for each in plan.chosen for spec in tensors(each.matrix, each.choice)]
    made = tuple(source.tensor(each, spec) for each, spec in specs)
    return Rewritten(made, config, keeps_vision)


def _refuse_another(model: nn.Module, plan: BudgetPlan) -> None:
    """Refuse a model whose files changed since it was planned."""
    planned = {spec.name: spec.shape for each in plan.chosen for spec in each.matrix.kept}
    found = {name: tuple(array.shape) for name, array in arrays_of(model).items()}
    if planned != found:
        other = min(name for name in {*planned, *found} if planned.get(name) != found.get(name))
        raise ResultError(
            f"{plan.folder}: {other} is not the tensor that was measured", "Run the command again"
        )


def _logical(module: Any, matrix: Matrix) -> mx.array:
    """The weight of a module as it is stored; in float32 if it is packed."""
    if matrix.packed is None:
        return mx.array(module.weight)
    scales, biases = module.scales, None
    if matrix.packed.mode == "affine":
        scales, biases = (part.astype(mx.float32) for part in (scales, module.biases))
    settings = matrix.packed.settings()
    return mx.dequantize(module.weight, scales, biases, **settings, dtype=mx.float32)


def _packed(model: nn.Module, config: dict[str, Any], chosen: list[Chosen]) -> dict[str, Any]:
    """Pack modules in place, and say so in config.json."""
    from mlx_lm.utils import quantize_model

    ways = {each.matrix.path: each.choice.way for each in chosen if each.choice.way is not None}
    modules = dict(model.named_modules())
    for each in chosen:
        module: Any = modules[each.matrix.path]
        weight = _logical(module, each.matrix).astype(FLOATS[each.matrix.dtype])
        if each.matrix.packed is None:
            module.weight = weight
        else:
            _repack(module, weight, ways[each.matrix.path])

    def predicate(path: str, module: nn.Module) -> bool | dict[str, Any]:
        return ways[path].settings() if path in ways else False

    # A group that divides every other: mlx-lm leaves rows that its default group does not divide.
    default = min(Counter(ways.values()).items(), key=lambda pair: (pair[0].group, -pair[1]))[0]
    # It prints the bits for each weight.
    with redirect_stdout(io.StringIO()):
        _, config = quantize_model(
            model, config, default.group, default.bits, default.mode, quant_predicate=predicate
        )
    for each in chosen:
        if each.matrix.packed is not None:
            assert each.choice.way is not None
            config["quantization"][each.matrix.path] = each.choice.way.settings()
    return config


def _repack(module: Any, weight: mx.array, way: Way) -> None:
    """Pack a module anew that is packed already."""
    module.weight, module.scales, *biases = mx.quantize(weight, **way.settings())
    module.biases = biases[0] if biases else None
    module.bits, module.group_size, module.mode = way.bits, way.group, way.mode


class _Source:
    """The bytes of tensors, each made once."""

    def __init__(
        self,
        arrays: dict[str, mx.array],
        weights: dict[str, mx.array],
        on_bytes: Callable[[int], None],
    ) -> None:
        self._arrays, self._weights, self._on_bytes = arrays, weights, on_bytes
        # Of the matrix whose first factor was written last.
        self._factors: dict[str, np.ndarray[Any, Any]] = {}

    def tensor(self, chosen: Chosen, spec: TensorSpec) -> StoredTensor:
        """One tensor of a choice."""
        data = partial(self._data, chosen, spec)
        return StoredTensor(spec.name, spec.dtype, spec.shape, spec.nbytes, data)

    def _data(self, chosen: Chosen, spec: TensorSpec) -> Iterator[memoryview]:
        is_factor = chosen.choice.rank is not None and spec not in chosen.matrix.bias
        pieces = self._factor(chosen, spec) if is_factor else self._array(spec)
        for piece in pieces:
            yield piece
            self._on_bytes(piece.nbytes)

    def _array(self, spec: TensorSpec) -> Iterator[memoryview]:
        array = self._arrays.pop(spec.name)
        made = stored(spec.name, array, _MLX[spec.dtype])
        assert (made.dtype, made.shape, made.nbytes) == (spec.dtype, spec.shape, spec.nbytes)
        yield from made.data()

    def _factor(self, chosen: Chosen, spec: TensorSpec) -> Iterator[memoryview]:
        matrix, rank = chosen.matrix, chosen.choice.rank
        assert rank is not None
        if spec.name not in self._factors:
            weight = np.array(self._weights.pop(matrix.path).astype(mx.float32))
            names = [each.name for each in tensors(matrix, chosen.choice)]
            self._factors = dict(zip(names, factorize(weight, rank, matrix.name), strict=False))
        values = self._factors.pop(spec.name)
        words: Any = np.ascontiguousarray(converted(values, spec.dtype, spec.name))
        assert words.dtype == DTYPES[spec.dtype].storage
        yield memoryview(words).cast("B")
