"""The two folders of an adapter: PEFT's and mlx-lm's, from factors that wait on the disk."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_probe.checkpoint import Weight
from mlx_probe.checkpoint.adapters.names import PEFT_PREFIX
from mlx_probe.core.dtypes import DTYPES
from mlx_probe.lab.elements import converted, read_elements
from mlx_probe.lab.export.peft_config import peft_config
from mlx_probe.lab.extract_lora.places import EMBEDDING, SWITCH, WHOLE, Place
from mlx_probe.lab.extract_lora.spool import Spool
from mlx_probe.lab.tensor_stream import StoredTensor, write_stream

__all__ = ["Carried", "write_mlx", "write_peft"]

Array = NDArray[Any]


@dataclass(frozen=True)
class Carried:
    """One change that an adapter has.

    Attributes:
        index: Position of its pair: the key of its factors.
        place: The module.
        rank: Rank of its factors; 0 for a tensor that is stored whole.
        shape: Rows and columns of the matrix in the file.
        whole: The tensor of B that is stored whole; None for factors.
    """

    index: int
    place: Place
    rank: int
    shape: tuple[int, int] = (0, 0)
    whole: Weight | None = None

    @property
    def extents(self) -> tuple[int, int]:
        """Outputs and inputs of the module; of an embedding its rows and columns."""
        rows, cols = self.shape
        return (cols, rows) if self.place.transposed else (rows, cols)


def write_peft(
    folder: Path, carried: Sequence[Carried], spool: Spool, dtype: str, base: str, task: str | None
) -> int:
    """Write adapter_config.json and adapter_model.safetensors.

    The product of the factors is what is added: lora_alpha is the rank.

    Args:
        folder: An empty folder.
        carried: What the adapter has, at least one of them with factors.
        spool: Has the factors.
        dtype: Type of the factors in the file.
        base: Reference of the base model.
        task: PEFT's name of what the model is for.

    Returns:
        Bytes of the tensors.

    Raises:
        OSError: The disk refused.
    """
    factors = [each for each in carried if each.place.kind != WHOLE]
    whole = [each for each in carried if each.place.kind == WHOLE]
    tensors = [tensor for each in factors for tensor in _peft_factors(each, spool, dtype)]
    tensors += [_peft_whole(each) for each in whole]
    config = peft_config(
        {each.place.module: each.rank for each in factors},
        1.0,
        base,
        task=task,
        fan_in_fan_out=all(each.place.transposed for each in factors),
        modules_to_save=sorted({each.place.module for each in whole}),
    )
    return _write(folder, "adapter_model.safetensors", config, tensors)


def write_mlx(
    folder: Path, carried: Sequence[Carried], spool: Spool, dtype: str, base: str, layers: int
) -> int:
    """Write adapter_config.json and adapters.safetensors, as `mlx_lm.load` takes them.

    mlx-lm has one rank for all modules: factors of a lower rank are filled up with zeros.

    Args:
        folder: See `write_peft`.
        carried: Changes with factors, at least one.
        spool: See `write_peft`.
        dtype: See `write_peft`.
        base: See `write_peft`.
        layers: Blocks of the model.

    Returns:
        Bytes of the tensors.

    Raises:
        OSError: The disk refused.
    """
    rank = max(each.rank for each in carried)
    modules: defaultdict[str, list[Carried]] = defaultdict(list)
    for each in carried:
        modules[each.place.module].append(each)
    tensors = [
        tensor
        for together in modules.values()
        for tensor in _mlx_factors(together, rank, spool, dtype)
    ]
    config = {
        "fine_tune_type": "lora",
        "model": base,
        "num_layers": layers,
        "lora_parameters": {
            "rank": rank,
            "scale": 1.0,
            "dropout": 0.0,
            # Whole names: mlx-lm takes exactly these modules, in whatever blocks they are.
            "keys": list(modules),
        },
    }
    return _write(folder, "adapters.safetensors", config, tensors)


def _write(
    folder: Path, file: str, config: Mapping[str, Any], tensors: Sequence[StoredTensor]
) -> int:
    write_stream(folder / file, tensors)
    text = json.dumps(config, indent=2) + "\n"
    (folder / "adapter_config.json").write_text(text, "utf-8")
    return sum(tensor.nbytes for tensor in tensors)


def _peft_factors(each: Carried, spool: Spool, dtype: str) -> list[StoredTensor]:
    outputs, inputs = each.extents
    if each.place.kind == EMBEDDING:
        # A table is looked up: its first factor has a column for each of its rows.
        names = "lora_embedding_A", "lora_embedding_B"
        shapes = (each.rank, outputs), (inputs, each.rank)
    else:
        names = "lora_A.weight", "lora_B.weight"
        shapes = (each.rank, inputs), (outputs, each.rank)
    prefix = f"{PEFT_PREFIX}{each.place.module}."
    is_table = each.place.kind == EMBEDDING

    def make(first: bool) -> Array:
        down, up = _down_up(each, spool, "up" if first == is_table else "down")
        return (up if first else down).T if is_table else (down if first else up)

    return [
        _tensor(prefix + name, dtype, shape, lambda first=first: make(first))
        for name, shape, first in zip(names, shapes, (True, False), strict=True)
    ]


def _peft_whole(each: Carried) -> StoredTensor:
    weight = each.whole
    assert weight is not None
    leaf = weight.name.rpartition(".")[2]
    # No type narrower than B's own, and none that PEFT's readers do not have.
    dtype = weight.chunk_dtype if weight.chunk_dtype in ("F32", "F16", "BF16") else "F32"

    def data() -> list[memoryview]:
        words: Any = np.ascontiguousarray(read_elements(weight, dtype))
        return [memoryview(words).cast("B")]

    size = weight.numel * DTYPES[dtype].itemsize
    name = f"{PEFT_PREFIX}{each.place.module}.{leaf}"
    return StoredTensor(name, dtype, weight.shape, size, data)


def _mlx_factors(
    together: Sequence[Carried], rank: int, spool: Spool, dtype: str
) -> list[StoredTensor]:
    """Both factors of a module, of all experts together."""
    first = together[0]
    outputs, inputs = first.extents
    name, kind, experts = first.place.module, first.place.kind, first.place.experts
    shapes: tuple[tuple[int, ...], tuple[int, ...]]
    if kind == SWITCH:
        shapes = (experts, rank, inputs), (experts, outputs, rank)
    elif kind == EMBEDDING:
        shapes = (outputs, rank), (rank, inputs)
    else:
        shapes = (inputs, rank), (rank, outputs)

    def make(is_a: bool) -> Array:
        filled = np.zeros(shapes[0] if is_a else shapes[1], np.float32)
        for each in together:
            down, up = _down_up(each, spool, "up" if is_a == (kind == EMBEDDING) else "down")
            if kind == SWITCH:
                if is_a:
                    filled[each.place.expert, : each.rank] = down
                else:
                    filled[each.place.expert, :, : each.rank] = up
            elif is_a:
                filled[:, : each.rank] = up if kind == EMBEDDING else down.T
            else:
                filled[: each.rank] = down if kind == EMBEDDING else up.T
        return filled

    return [
        _tensor(f"{name}.{leaf}", dtype, shape, lambda is_a=is_a: make(is_a))
        for leaf, shape, is_a in zip(("lora_a", "lora_b"), shapes, (True, False), strict=True)
    ]


def _down_up(each: Carried, spool: Spool, wanted: str) -> tuple[Array, Array]:
    """The factor that reads, shape (r, inputs), and the one that writes, (outputs, r).

    Only the one that is wanted is read; the other one is empty.
    """
    none = np.empty((0, 0), np.float32)
    turned = each.place.transposed
    if (wanted == "down") != turned:
        made = spool.factor(each.index, "right")
    else:
        made = spool.factor(each.index, "left")
    made = made.T if turned else made
    return (made, none) if wanted == "down" else (none, made)


def _tensor(name: str, dtype: str, shape: tuple[int, ...], make: Any) -> StoredTensor:
    def data() -> list[memoryview]:
        words: Any = np.ascontiguousarray(converted(make(), dtype, name))
        assert words.shape == shape, (name, words.shape, shape)
        return [memoryview(words).cast("B")]

    size = int(np.prod(shape)) * DTYPES[dtype].itemsize
    return StoredTensor(name, dtype, shape, size, data)
