"""A case of a packing: what its package wrote, what it reads there itself, and what we must say."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from weightfiles import gguf_bytes, listed, model_files, whole, write_gguf, write_safetensors

from mlx_probe.checkpoint import open_checkpoint
from mlx_probe.core.dtypes import decode
from referees.tally import OUTCOME, REASON

# Half a unit in the last place, by the type that a package rounds its own values to.
HALF_UNIT = {"F32": 2.0**-24, "F16": 2.0**-11, "BF16": 2.0**-8}


@dataclass(frozen=True)
class Made:
    """What an original package made.

    Attributes:
        tensors: Stored arrays with the names of their types, by name.
        values: Its own dequantization of them, float32, by the weight's name; a stack has one
            array of three axes.
        config: config.json.
        slack: Largest difference that rounding in the package explains, broadcast to the values.
        gguf: Whether the tensors go into a GGUF file.
    """

    tensors: Mapping[str, tuple[np.ndarray, str]]
    values: Mapping[str, np.ndarray]
    config: Mapping[str, Any] = field(default_factory=dict)
    slack: Any = 0.0
    gguf: bool = False


@dataclass(frozen=True)
class Case:
    """One line of a family's table.

    Attributes:
        name: What is special about it.
        make: Calls the original package.
        refused: Pattern of the reason why there are no numbers; empty where they must be right.
    """

    name: str
    make: Callable[[], Made]
    refused: str = ""

    def __str__(self):
        return self.name


def judge(case, folder, record_property):
    """The right numbers for every weight, or the expected reason and no numbers at all."""
    made = case.make()
    weights = {}
    for weight in opened(folder, made):
        weights.setdefault(weight.name, []).append(weight)
    if case.refused:
        record_property(OUTCOME, REASON)
        problems = [weight.problem or "" for rows in weights.values() for weight in rows]
        assert any(re.search(case.refused, problem) for problem in problems), problems
        for rows in weights.values():
            for weight in rows:
                # Nothing that has a reason has numbers; what has none is right.
                if weight.problem:
                    assert list(weight.chunks()) == []
                else:
                    assert weight.name in made.values, f"{weight.label} is read as {weight.dtype}"
                    _compare(rows, made)
        return
    assert {name: rows[0].problem for name, rows in weights.items()} == dict.fromkeys(made.values)
    for rows in weights.values():
        _compare(rows, made)


def opened(folder, made):
    """Rows of the file that the tensors are written to."""
    config = folder / "config.json"
    config.write_text(json.dumps(dict(made.config)))
    if made.gguf:
        return open_checkpoint(model_files(_gguf_file(folder / "model.gguf", made))).weights()
    file = write_safetensors(folder / "model.safetensors", made.tensors)
    return open_checkpoint(model_files(file, config=config)).weights()


def _gguf_file(path, made):
    if all(isinstance(kind, str) for _, kind in made.tensors.values()):
        return write_gguf(path, made.tensors)
    # A type that gguf's writer does not know, by its number.
    ((name, (stored, kind)),) = made.tensors.items()
    entry = listed(name, made.values[name].shape[::-1], kind)
    path.write_bytes(gguf_bytes(entries=[entry], data=stored.tobytes()))
    return path


def _compare(rows, made):
    """The rows of one weight, a stack or a single matrix, against the package's values."""
    expected = made.values[rows[0].name]
    rows = [row for row in rows if row.part is None]
    stacked = rows[0].stack_index is not None
    read = [decode(whole(row), row.chunk_dtype) for row in rows]
    values = np.stack(read) if stacked else read[0]
    assert values.shape == expected.shape
    slack = np.broadcast_to(made.slack, expected.shape)
    off = ~((np.abs(values - expected) <= slack) | (np.isnan(values) & np.isnan(expected)))
    # Infinities are equal and have no difference.
    off &= values != expected
    worst = np.argwhere(off)[:1].tolist()
    assert not off.any(), f"{rows[0].name}: {int(off.sum())} of {off.size} differ, first at {worst}"


def torch_stored(tensor):
    """A torch tensor as words, with the name of its type in safetensors."""
    import torch

    names = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "float64": "F64"}
    names |= {"float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2", "float8_e8m0fnu": "F8_E8M0"}
    names |= {"int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8", "uint8": "U8"}
    name = names[str(tensor.dtype).removeprefix("torch.")]
    view = {"BF16": torch.uint16}.get(name, torch.uint8 if name.startswith("F8") else tensor.dtype)
    return tensor.detach().contiguous().view(view).numpy(), name
