"""Which tensors of the base a module of an adapter names, and what is known of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from mlx_probe.analysis.compare.pair import role_key
from mlx_probe.checkpoint import Checkpoint, Weight, find_aliases, text_config
from mlx_probe.checkpoint.adapters.conv1d import is_conv1d
from mlx_probe.checkpoint.adapters.protocol import Module, Target
from mlx_probe.checkpoint.naming.classify import classify
from mlx_probe.core.errors import PackingError
from mlx_probe.core.records import Role

__all__ = ["Place", "Targets"]

# What torch.nn.MultiheadAttention calls the weight of its three projections.
_WEIGHTS = ("weight", "in_proj_weight")
# Parameters of a module in the order in which transformers declares them.
_DECLARED = ("gate_up_proj", "down_proj")
# The matrices that an expert of a stack consists of, and which half of the rows each one is.
_STACKED: dict[str, tuple[tuple[str, int | None], ...]] = {
    "gate_up_proj": (("gate_proj", 0), ("up_proj", 1)),
    "down_proj": (("down_proj", None),),
}
# Models whose stacked experts are (in, out), as transformers declares them.
_EXPERTS_TRANSPOSED = ("gpt_oss", "llama4", "llama4_text")


@dataclass(frozen=True)
class Place:
    """A tensor of the base that a module changes.

    Attributes:
        index: Position among the base's weights.
        key: "weight" or "bias".
        module: The module, with the name that patterns are matched with.
        target: What is known of the tensor, or of the larger one that it is a part of.
        rows: The rows of the target that it has; None for all.
        is_parameter: Whether ``target_parameters`` names it.
    """

    index: int
    key: str
    module: Module
    target: Target
    rows: slice | None = None
    is_parameter: bool = False


class Targets:
    """Finds what an adapter names among a base's weights.

    Args:
        base: The base.
        config: adapter_config.json.
    """

    def __init__(self, base: Checkpoint, config: Mapping[str, Any]) -> None:
        self.weights = base.weights()
        self._config = config
        self._model = text_config(base.config)
        self._model_type = base.architecture.model_type
        self._shapes = {parameter.name: parameter.shape for parameter in base.parameters}
        self._labels: dict[tuple[str, int | None], int] = {}
        self._stacks: dict[str, list[int]] = defaultdict(list)
        self._roles: dict[tuple[object, ...], list[int]] = defaultdict(list)
        for i, weight in enumerate(self.weights):
            if weight.part is None:
                self._labels.setdefault((weight.name, weight.stack_index), i)
                if weight.stack_index is not None:
                    self._stacks[weight.name].append(i)
            self._roles[role_key(weight)].append(i)

    def find(self, name: str, stack_index: int | None = None) -> int | None:
        """Position of the weight of this name, or of the only one with its role; None if none."""
        if (name, stack_index) in self._labels:
            return self._labels[name, stack_index]
        if stack_index is not None or name in self._stacks:
            return None
        role = classify(name)
        key = (role.layer_index, role.component, role.block_type, role.expert_index)
        candidates = self._roles.get((*key, name.endswith("bias")), [])
        return candidates[0] if len(candidates) == 1 and role.block_type != "other" else None

    def places(self, module: Module) -> list[Place]:
        """The tensors that a module may change: its weight, its bias, stacked experts.

        Raises:
            PackingError: The module has several parameters, and which is meant is not certain.
        """
        named = self._parameters(module)
        if named:
            return [
                replace(place, is_parameter=True)
                for place in self._of_parameter(module, self._parameter(module, named))
            ]
        places = []
        for end in _WEIGHTS:
            name = f"{module.name}.{end}"
            if name in self._stacks and "lora_a" in module.pieces:
                return self._in_stack(name, module)
            if (found := self.find(name)) is not None:
                places.append(self._place(found, "weight", module))
                break
        else:
            if (table := self.table_of_head(module.name)) is not None:
                places.append(self._place(table, "weight", module))
        bias = self.find(f"{module.name}.bias")
        if bias is not None and self.weights[bias].name.endswith("bias"):
            places.append(self._place(bias, "bias", module))
        return places

    def tied(self, index: int) -> tuple[int, bool] | None:
        """The other one of a table of embeddings and a head that share their values.

        Args:
            index: Position of one of the two.

        Returns:
            Its position, and whether it is certain that the model ties both: both have the same
            bytes, and the configuration does not say otherwise. None if there is no other.
        """
        pair = self._table(), self._head()
        if None in pair or index not in pair or self._model.get("tie_word_embeddings") is False:
            return None
        table, head = pair
        assert table is not None
        assert head is not None
        other = head if index == table else table
        if find_aliases([self.weights[table], self.weights[head]]):
            return other, True
        return (other, False) if self._model.get("tie_word_embeddings") is True else None

    def table_of_head(self, module: str) -> int | None:
        """The table of embeddings, if the module is a head that the base does not store."""
        role = classify(f"{module}.weight")
        if role.block_type != "output" or self._head() is not None:
            return None
        return None if self._model.get("tie_word_embeddings") is False else self._table()

    def near(self, module: str) -> list[int]:
        """Weights that a module which the base does not have may be stored in.

        Those below its name, and those of its layer and component, or of its role outside of
        layers.
        """
        role = classify(f"{module}.weight")
        found = []
        for i, weight in enumerate(self.weights):
            below = weight.name.startswith(f"{module}.")
            same_layer = weight.role.layer_index == role.layer_index
            if role.layer_index is None:
                same = same_layer and weight.role.block_type == role.block_type != "other"
            else:
                components = _component(weight.role), _component(role)
                same = same_layer and (components[0] == components[1] or role.component == "other")
            if below or (same and not weight.name.endswith("bias")):
                found.append(i)
        return found

    def _of_parameter(self, module: Module, name: str) -> list[Place]:
        """What ``target_parameters`` names; patterns are matched with the parameter's name."""
        wrapped = replace(module, name=name)
        if name in self._stacks:
            return self._in_stack(name, wrapped)
        found = self._labels.get((name, None))
        if found is not None:
            return [self._place(found, "weight", wrapped)]
        return self._split_experts(name, wrapped)

    def _in_stack(self, name: str, module: Module) -> list[Place]:
        """The matrices of a stack of experts."""
        stack = self._stacks[name]
        return [Place(i, "weight", module, self._target(i, module, len(stack))) for i in stack]

    def _split_experts(self, name: str, module: Module) -> list[Place]:
        """The experts of a parameter that transformers stacks and the file holds one by one.

        Stacked, gate and up are one matrix, gate first.
        """
        owner, _, parameter = name.rpartition(".")
        if parameter not in _STACKED or owner.rpartition(".")[2] != "experts":
            return []
        layer = classify(f"{name}.weight").layer_index
        places = []
        for block_type, half in _STACKED[parameter]:
            found = {
                weight.expert_index: i
                for i, weight in enumerate(self.weights)
                if (weight.role.layer_index, weight.role.component) == (layer, "moe")
                and weight.role.block_type == block_type
                and weight.name.endswith("weight")
                and weight.stack_index is None
            }
            if not found or sorted(found, key=str) != sorted(range(len(found)), key=str):
                return []
            for expert, i in found.items():
                rows, cols = self.weights[i].extents
                first = 0 if half is None else half * rows
                total = rows if half is None else 2 * rows
                target = Target((total, cols), total, cols, expert=expert, experts=len(found))
                places.append(Place(i, "weight", module, target, slice(first, first + rows)))
        return places

    def _place(self, index: int, key: str, module: Module) -> Place:
        return Place(index, key, module, self._target(index, module))

    def _target(self, index: int, module: Module, experts: int = 1) -> Target:
        weight = self.weights[index]
        stacked = experts > 1 or weight.stack_index is not None
        square = weight.rows == weight.cols
        transposed = square and is_conv1d(
            weight.name,
            self._shapes,
            self._model_type,
            self._config.get("fan_in_fan_out") is True,
        )
        if stacked:
            transposed = square and self._model_type in _EXPERTS_TRANSPOSED
        elif not square and weight.rows is not None:
            transposed = is_conv1d(weight.name, self._shapes, self._model_type, False)
        return Target(
            weight.shape,
            weight.rows,
            weight.cols,
            transposed=transposed,
            is_table=_is_table(weight) and classify(f"{module.name}.weight").component != "output",
            expert=weight.stack_index if experts > 1 else None,
            experts=experts,
        )

    def _parameters(self, module: Module) -> list[str]:
        """Full names of the module's parameters that ``target_parameters`` names."""
        # Only PEFT's LoRA knows the option.
        lora = module.pieces.keys() & {"lora_A", "lora_B"}
        names = self._config.get("target_parameters") if lora else None
        found = []
        for name in names if isinstance(names, list) else []:
            owner, _, parameter = str(name).rpartition(".")
            if f".{module.name}".endswith(f".{owner}"):
                found.append(f"{module.name}.{parameter}")
        return list(dict.fromkeys(found))

    def _parameter(self, module: Module, names: list[str]) -> str:
        """The one that the module's factors belong to."""
        if len(names) == 1:
            return names[0]
        order = [f"{module.name}.{parameter}" for parameter in _DECLARED]
        if set(names) == set(order) and module.depth < len(order):
            # PEFT wraps one parameter after the other: the last one is outermost.
            return order[-1 - module.depth]
        fitting = [name for name in names if self._fits(module, self._shapes.get(name, ()))]
        if len(fitting) != 1:
            raise PackingError(
                f"it is not certain which of {', '.join(names)} the factors belong to"
            )
        return fitting[0]

    @staticmethod
    def _fits(module: Module, shape: tuple[int, ...]) -> bool:
        try:
            a, b = module.shape("lora_A"), module.shape("lora_B")
        except PackingError:
            return False
        return len(shape) >= 2 and sorted((a[-1], b[0])) == sorted(shape[-2:])

    def _table(self) -> int | None:
        return _only([i for i, weight in enumerate(self.weights) if _is_table(weight)])

    def _head(self) -> int | None:
        return _only([i for i, weight in enumerate(self.weights) if _is_head(weight)])


def _component(role: Role) -> str:
    """Component of a role; a mixture's is that of the layer which it takes the place of."""
    return "mlp" if role.component == "moe" else role.component


def _is_table(weight: Weight) -> bool:
    return weight.role.block_type == "embedding" and weight.rows is not None


def _is_head(weight: Weight) -> bool:
    return weight.role.block_type == "output" and weight.rows is not None


def _only(found: list[int]) -> int | None:
    return found[0] if len(found) == 1 else None
