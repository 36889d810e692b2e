"""Small mixtures of experts, their side table, and what numpy says of a pair of experts."""

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from weightfiles import model_files, write_safetensors

from mlx_probe.analysis.side_tables.experts.columns import EXPERT_COLUMNS
from mlx_probe.analysis.side_tables.experts.rows import expert_rows
from mlx_probe.analysis.side_tables.experts.subspaces import SUBSPACE
from mlx_probe.checkpoint import open_checkpoint
from mlx_probe.compute.backends import BACKENDS
from mlx_probe.core.records import Row
from mlx_probe.runs.table.schema import rows_to_table

NUMPY = BACKENDS["numpy"]("cpu")
PLENTY = 4 << 30
HIDDEN, WIDTH, EXPERTS = 40, 24, 5
MOE = {"model_type": "qwen3_moe", "hidden_size": HIDDEN, "moe_intermediate_size": WIDTH}
PREFIX = "model.layers.2.mlp"
SHAPES = {"gate_proj": (WIDTH, HIDDEN), "up_proj": (WIDTH, HIDDEN), "down_proj": (HIDDEN, WIDTH)}


def rows_of(arrays, config=MOE, budget=PLENTY, dtype="F64", backend=NUMPY):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "config.json").write_text(json.dumps(config))
        file = write_safetensors(folder / "model.safetensors", arrays, dtype)
        files = model_files(file, config=folder / "config.json")
        with open_checkpoint(files) as checkpoint:
            weights, architecture = checkpoint.weights(), checkpoint.architecture
            rows = list(expert_rows(weights, architecture, backend, budget))
    table = rows_to_table([Row(i, row) for i, row in enumerate(rows)], EXPERT_COLUMNS)
    for column in EXPERT_COLUMNS:
        values = [v for v in table[column.name].to_pylist() if v is not None]
        assert not column.required or len(values) == len(rows)
        assert column.lower is None or all(v >= column.lower for v in values), column.name
        assert column.upper is None or all(v <= column.upper for v in values), column.name
    return rows


def mixture(rng, experts=EXPERTS):
    """Matrices by kind, shape (experts, rows, cols), with something in common."""
    return {
        kind: rng.standard_normal((experts, *shape)) + rng.standard_normal(shape)
        for kind, shape in SHAPES.items()
    }


def named(stacks, prefix=PREFIX):
    return {
        f"{prefix}.experts.{i}.{kind}.weight": matrix
        for kind, stack in stacks.items()
        for i, matrix in enumerate(stack)
    }


def of_kind(rows, kind):
    return [row for row in rows if row["block_type"] == kind]


def cosine(x, y):
    return float(np.vdot(x, y) / (np.linalg.norm(x) * np.linalg.norm(y)))


def overlap(x, y, axis, dim=SUBSPACE):
    """From full SVDs; axis 0: of the columns' space."""
    one, two = (
        np.linalg.svd(m if axis == 0 else m.T, full_matrices=False)[0][:, :dim] for m in (x, y)
    )
    return float(np.sum((one.T @ two) ** 2) / dim)


def agree(one, two, but=()):
    """Rows that say the same; what is made of names may differ."""
    assert len(one) == len(two)
    for left, right in zip(one, two, strict=True):
        assert left.keys() - set(but) == right.keys() - set(but)
        for column in left.keys() - {"param_name", "part", "rows", "cols", *but}:
            if isinstance(left[column], float):
                assert left[column] == pytest.approx(right[column], rel=1e-9, abs=1e-12), column
            else:
                assert left[column] == right[column], column
