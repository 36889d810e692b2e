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
        metadata: The safetensors file's own metadata.
        gguf: Whether the tensors go into a GGUF file.
    """

    tensors: Mapping[str, tuple[np.ndarray, str]]
    values: Mapping[str, np.ndarray]
    config: Mapping[str, Any] = field(default_factory=dict)
    slack: Any = 0.0
    metadata: Mapping[str, str] = field(default_factory=dict)
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
    parameters = [row.parameter for rows in weights.values() for row in rows]
    pieces = {piece.name for p in parameters for piece in (*p.pieces, *p.extra)}
    assert pieces == set(made.tensors)
    if case.refused:
        record_property(OUTCOME, REASON)
        problems = [weight.problem or "" for rows in weights.values() for weight in rows]
        assert any(re.search(case.refused, problem) for problem in problems), problems
        for rows in weights.values():
            # Nothing that has a reason has numbers; what has none is right.
            if rows[0].problem:
                assert [chunk for row in rows for chunk in row.chunks()] == []
            else:
                assert rows[0].name in made.values, f"{rows[0].label} is read as {rows[0].dtype}"
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
    path = folder / "model.safetensors"
    file = write_safetensors(path, made.tensors, metadata=dict(made.metadata))
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
