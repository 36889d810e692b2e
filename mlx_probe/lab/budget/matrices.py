"""The matrices of a model as mlx-lm loads it, and what may be done to each.

mlx-lm's names, and not those of the files: experts are stacked there, fused matrices are split,
and what an export writes has these names.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import mlx.core as mx
from mlx import nn
from mlx.utils import tree_flatten

from mlx_probe.checkpoint.naming.classify import classify
from mlx_probe.lab.budget.records import Kind, Matrix, ModuleKind, Way
from mlx_probe.lab.budget.ways import fitting
from mlx_probe.lab.tensor_stream import TensorSpec
from mlx_probe.lab.tensors_file import DTYPES

__all__ = ["arrays_of", "matrices_of"]

# Arrays of a module that are its weight.
_WEIGHT = ("weight", "scales", "biases", "global_scale")
_NOT_QUANTIZED = "MLX does not quantize it"


def arrays_of(model: nn.Module) -> dict[str, mx.array]:
    """All parameters of a model by name. Empty ones, as of a missing bias, are left out."""
    return {name: array for name, array in tree_flatten(model.parameters()) if array.size}


def matrices_of(
    model: nn.Module,
    ways: Sequence[Way],
    kinds: Collection[Kind],
    dtype: mx.Dtype | None,
    plain: mx.Dtype,
) -> tuple[Matrix, ...]:
    """Every weight that may be quantized or cut, and every other parameter.

    Args:
        model: As mlx-lm loads it; nothing of it is evaluated.
        ways: The quantizations to choose among.
        kinds: The kinds of choices that are allowed.
        dtype: The type that plain floats are cast to; None to leave them.
        plain: The type of a weight that is stored packed, if the packing does not say it.
    """
    arrays = arrays_of(model)
    casts = getattr(model, "cast_predicate", lambda name: True)
    specs = {
        name: _spec(name, array, dtype if casts(name) and dtype is not None else None)
        for name, array in arrays.items()
    }
    found: list[Matrix] = []
    taken: set[str] = set()
    leaves = tree_flatten(model.leaf_modules(), is_leaf=nn.Module.is_module)
    for path, module in leaves:
        name = f"{path}.weight"
        if name not in arrays or not (hasattr(module, "to_quantized") or _packing(module)):
            continue
        own = [each for each in specs if each.rpartition(".")[0] == path]
        taken.update(own)
        found.append(_Module(path, module, model, arrays, specs, plain).matrix(own, ways, kinds))
    # In the order of the model.
    places = {name: place for place, name in enumerate(arrays)}
    found += [_other(spec, arrays[name]) for name, spec in specs.items() if name not in taken]
    return tuple(sorted(found, key=lambda matrix: places[matrix.name]))


class _Module:
    """One module with a weight that MLX quantizes, or has quantized."""

    def __init__(
        self,
        path: str,
        module: nn.Module,
        model: nn.Module,
        arrays: Mapping[str, mx.array],
        specs: Mapping[str, TensorSpec],
        plain: mx.Dtype,
    ) -> None:
        self._path, self._module = path, module
        self._predicate = getattr(model, "quant_predicate", None)
        self._arrays, self._specs, self._plain = arrays, specs, plain
        self._packed = _packing(module)

    def matrix(self, own: Sequence[str], ways: Sequence[Way], kinds: Collection[Kind]) -> Matrix:
        """The record."""
        name = f"{self._path}.weight"
        weight = self._specs[name]
        shape = weight.shape
        dtype = weight.dtype
        if self._packed is not None:
            shape = (*shape[:-1], shape[-1] * 32 // self._packed.bits)
            scales = self._arrays[f"{self._path}.scales"]
            is_float = mx.issubdtype(scales.dtype, mx.floating)
            dtype = DTYPES[scales.dtype if is_float else self._plain]
        allowed, why = self._ways(ways, shape) if "bits" in kinds else ((), "")
        kind = self._kind()
        cut = "rank" in kinds and kind in ("linear", "embedding")
        if f"{self._path}.global_scale" in self._specs:
            allowed, cut, why = (), False, "it is packed with a scale of the whole matrix"
        elif dtype not in ("F32", "F16", "BF16"):
            allowed, cut, why = (), False, f"it holds {dtype}, no floats that MLX quantizes"
        elif not cut and not allowed and not why:
            why = f"mlx-lm's {type(self._module).__name__} is not cut to a rank"
        role = classify(name)
        return Matrix(
            path=self._path,
            name=name,
            kind=kind,
            shape=shape,
            dtype=dtype,
            kept=tuple(self._specs[each] for each in own),
            stored=sum(self._arrays[each].nbytes for each in own),
            bias=tuple(self._specs[each] for each in own if each.rpartition(".")[2] not in _WEIGHT),
            packed=self._packed,
            ways=allowed,
            cut=cut,
            cast=self._packed is None and DTYPES[self._arrays[name].dtype] != dtype,
            layer=role.layer_index,
            block_type=role.block_type,
            component=role.component,
            reason="" if allowed or cut else why,
        )

    def _kind(self) -> ModuleKind:
        kinds: dict[str, ModuleKind] = {
            "Linear": "linear",
            "QuantizedLinear": "linear",
            "Embedding": "embedding",
            "QuantizedEmbedding": "embedding",
            "SwitchLinear": "experts",
            "QuantizedSwitchLinear": "experts",
        }
        # By name and not by class: a subclass may use its weight in another way.
        return kinds.get(type(self._module).__name__, "other")

    def _ways(self, ways: Sequence[Way], shape: tuple[int, ...]) -> tuple[tuple[Way, ...], str]:
        """The quantizations that mlx-lm would make, or why there are none."""
        asked: Any = True
        if self._predicate is not None:
            asked = self._predicate(self._path, self._module)
        if not asked:
            return (), "mlx-lm's rules for this model leave it as it is"
        if isinstance(asked, dict):
            # As much as a router's eight bits: fewer are not what the model's author wants.
            ways = [way for way in ways if way.bits >= int(asked.get("bits", 0))]
            if not ways:
                return (), f"mlx-lm's rules for this model ask for {asked.get('bits')} bits"
        if self._packed is not None:
            # An error is added to that of the packing: only fewer bits can save.
            ways = [way for way in ways if way != self._packed]
        elif "mode" not in inspect.signature(self._module.to_quantized).parameters:
            ways = [way for way in ways if way.mode == "affine"]
        if allowed := fitting(ways, shape[-1]):
            return allowed, ""
        return (), f"{shape[-1]} columns are no whole groups"


def _packing(module: nn.Module) -> Way | None:
    """The quantization of a module that mlx-lm loaded packed."""
    if not all(hasattr(module, name) for name in ("bits", "group_size", "scales")):
        return None
    return Way(getattr(module, "mode", "affine"), module.bits, module.group_size)


def _other(spec: TensorSpec, array: mx.array) -> Matrix:
    role = classify(spec.name)
    return Matrix(
        path=spec.name.rpartition(".")[0],
        name=spec.name,
        kind="none",
        shape=spec.shape,
        dtype=spec.dtype,
        kept=(spec,),
        stored=array.nbytes,
        layer=role.layer_index,
        block_type=role.block_type,
        component=role.component,
        reason="it is a vector" if len(spec.shape) < 2 else _NOT_QUANTIZED,
    )


def _spec(name: str, array: mx.array, dtype: mx.Dtype | None) -> TensorSpec:
    # Scales and biases of packed weights stay: their types belong to the packing.
    packed = name.rpartition(".")[2] in ("scales", "biases")
    floats = mx.issubdtype(array.dtype, mx.floating)
    kind = dtype if dtype is not None and floats and not packed else array.dtype
    return TensorSpec(name, DTYPES[kind], tuple(array.shape), array.size * kind.size)
