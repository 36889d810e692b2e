"""Where mlx-lm has a place for the change of a tensor: its own loader says so.

mlx-lm renames, transposes and stacks a checkpoint's tensors when it loads them (`Model.sanitize`).
Tensors whose elements are their own numbers, and which take no memory, go through it here: what
comes out shows which module has which tensor, at which place of a stack, and whether it is
transposed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from mlx_probe.checkpoint import Checkpoint, Weight
from mlx_probe.checkpoint.naming.classify import classify
from mlx_probe.checkpoint.parameter import Parameter
from mlx_probe.lab.extract_lora.places import EMBEDDING, LINEAR, SWITCH, Place, Refusal

__all__ = ["MlxPlaces", "mlx_places"]

_PACKED = ("quantization", "quantization_config")
# float32 counts exactly up to here.
_LARGEST = 1 << 24
# A tensor's name, and the position in its stack.
_Key: TypeAlias = tuple[str, int | None]


class MlxPlaces:
    """The modules of mlx-lm's model by the tensors of a checkpoint.

    Args:
        places: By the tensor's name and its position in a stack.
        reason: Why there are none at all; "" if there are.
    """

    def __init__(self, places: Mapping[_Key, Place | Refusal], reason: str = "") -> None:
        self._places, self.reason = places, reason

    def of(self, weight: Weight) -> Place | Refusal:
        """The module of a weight, or why there is none."""
        if self.reason:
            return Refusal(self.reason)
        if weight.rows is None or len(weight.shape) != 2:
            return Refusal("mlx-lm's adapters hold factors of matrices only")
        missing = Refusal("mlx-lm has no module that takes an adapter for it")
        return self._places.get((weight.name, weight.stack_index), missing)


def mlx_places(base: Checkpoint) -> MlxPlaces:
    """Find the module of each matrix of a checkpoint.

    Args:
        base: The model that the adapter is for.
    """
    if not base.config.get("model_type"):
        return MlxPlaces({}, "the model has no config.json that names its type")
    try:
        model = _model(base.config)
    except (ImportError, ValueError, KeyError, TypeError, AttributeError) as error:
        return MlxPlaces({}, f"mlx-lm does not know the model: {_first_line(error)}")
    sources = [_Source(each, _faked(each)) for each in base.parameters if each.problem is None]
    try:
        with mx.stream(mx.cpu):
            numbers = _loaded(model, {s.name: s.numbered(i) for i, s in enumerate(sources)})
            rows = _loaded(model, {s.name: s.by_row() for s in sources})
            places = _all_places(dict(model.named_modules()), numbers, rows, sources)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RuntimeError) as error:
        return MlxPlaces({}, f"mlx-lm cannot load the model's tensors: {_first_line(error)}")
    return MlxPlaces(places)


def _model(config: Mapping[str, Any]) -> Any:
    from mlx_lm.utils import _get_classes

    plain = {key: value for key, value in config.items() if key not in _PACKED}
    model_class, args_class = _get_classes(plain)
    # Nothing is computed: arrays of MLX are lazy.
    return model_class(args_class.from_dict(plain))


def _loaded(model: Any, arrays: dict[str, mx.array]) -> Mapping[str, mx.array]:
    """What mlx-lm makes of a checkpoint's tensors."""
    sanitize = getattr(model, "sanitize", None)
    loaded: Mapping[str, mx.array] = arrays if sanitize is None else sanitize(dict(arrays))
    return loaded


@dataclass(frozen=True)
class _Source:
    """A tensor of the checkpoint that goes through mlx-lm's loader.

    Attributes:
        parameter: The tensor.
        shape: The shape that it is shown with.
    """

    parameter: Parameter
    shape: tuple[int, ...]

    @property
    def name(self) -> str:
        """The tensor's name."""
        return self.parameter.name

    def numbered(self, number: int) -> mx.array:
        """Elements that are all one number."""
        return mx.broadcast_to(mx.array(float(number), mx.float32), self.shape)

    def by_row(self) -> mx.array:
        """Elements that are the number of their row, the last axis but one."""
        if len(self.shape) < 2:
            return self.numbered(0)
        rows = mx.arange(self.shape[-2], dtype=mx.float32)[:, None]
        return mx.broadcast_to(rows, self.shape)


def _faked(parameter: Parameter) -> tuple[int, ...]:
    """A tensor's shape; of an expert one column, as a stack of all would take their memory."""
    one_expert = classify(parameter.name).expert_index is not None
    return (parameter.shape[0], 1) if one_expert and len(parameter.shape) == 2 else parameter.shape


def _all_places(
    modules: Mapping[str, Any],
    numbers: Mapping[str, mx.array],
    rows: Mapping[str, mx.array],
    sources: Sequence[_Source],
) -> dict[_Key, Place | Refusal]:
    places: dict[_Key, Place | Refusal] = {}
    for name, array in numbers.items():
        module = modules.get(name.removesuffix(".weight"))
        if not name.endswith(".weight") or module is None or name not in rows:
            continue
        for key, place in _places(name, module, array, rows[name], sources).items():
            twice = key in places
            places[key] = Refusal("mlx-lm has it in two modules") if twice else place
    return places


def _places(
    name: str, module: Any, numbers: mx.array, rows: mx.array, sources: Sequence[_Source]
) -> dict[_Key, Place | Refusal]:
    """The places of the tensors that one module's weight is made of."""
    from mlx_lm.models.switch_layers import SwitchLinear

    kinds = {nn.Linear: LINEAR, nn.Embedding: EMBEDDING, SwitchLinear: SWITCH}
    kind = kinds.get(type(module))
    found: dict[_Key, Place | Refusal] = {}
    # A module that makes its own LoRA has another form of it.
    if kind is None or hasattr(module, "to_lora"):
        return found
    shape = tuple(module.weight.shape)
    stack = shape[0] if kind == SWITCH else 1
    if len(numbers.shape) != len(shape) or max(shape) >= _LARGEST:
        return found
    if kind == SWITCH and numbers.shape[0] != stack:
        return found
    made = rows.reshape(stack, *rows.shape[-2:])
    firsts = np.array(numbers.reshape(stack, *numbers.shape[-2:])[:, 0, 0])
    for expert, number in enumerate(firsts.astype(int).tolist()):
        source = sources[number]
        in_stack = kind == SWITCH and len(source.shape) == 3
        turned = _is_turned(made[expert], source.shape[-2:])
        own = source.parameter.shape[-2:]
        key = source.name, expert if in_stack else None
        if turned is None:
            found[key] = Refusal("mlx-lm cuts or permutes it when it loads it")
            continue
        if (own[::-1] if turned else own) != shape[-2:]:
            found[key] = Refusal("mlx-lm's module has another shape")
            continue
        module_name = name.removesuffix(".weight")
        found[key] = Place(module_name, kind, turned, expert, stack if kind == SWITCH else 0)
    return found


def _is_turned(rows: mx.array, own: tuple[int, ...]) -> bool | None:
    """Whether a matrix comes out transposed; None if its rows are in another order."""
    if len(own) != 2:
        return None
    counted = np.arange(own[0], dtype=np.float32)
    if tuple(rows.shape) == own and np.array_equal(np.array(rows[:, 0]), counted):
        return False
    is_turned = tuple(rows.shape) == own[::-1] and np.array_equal(np.array(rows[0]), counted)
    return True if is_turned else None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
