"""A small run with every kind of value that a table can hold."""

import math
from datetime import datetime, timezone

import pytest

from mlx_probe.analysis.columns import table_columns
from mlx_probe.core.records import Column, Row
from mlx_probe.runs.table.schema import rows_to_table

METRICS = (
    Column("min", "float64", "moments", ""),
    Column("mean", "float64", "moments", ""),
    Column("max", "float64", "moments", ""),
    Column("std", "float64", "moments", "", lower=0),
    Column("var", "float64", "moments", "", lower=0),
    Column("sparsity", "float64", "moments", "", lower=0, upper=1),
    Column("q01", "float64", "moments", ""),
    Column("q50", "float64", "moments", ""),
    Column("q99", "float64", "moments", ""),
    Column("value_dtype", "string", "spectrum", ""),
    Column("rank", "int64", "spectrum", "", lower=0),
    Column("effective_rank", "float64", "spectrum", "", lower=0),
    Column("condition_number", "float64", "spectrum", "", lower=1),
    Column("alpha_reliable", "bool", "tails", ""),
)


def make_values(name, shape, **values):
    """One valid row; ``values`` overrides or adds."""
    return {
        "model_path": "/models/tiny",
        "model_id": "owner/tiny",
        "revision": "local",
        "param_name": name,
        "block_type": "q_proj",
        "shape": shape,
        "dtype": "BF16",
        "created_at": datetime(2025, 1, 31, 9, 0, 0, 250000, tzinfo=timezone.utc),
        "device": "cpu",
        "backend": "numpy",
        "framework": "safetensors",
        "code_version": "0.1.0",
        "component": "attention",
        "numel": math.prod(shape),
        "nbytes": 2 * math.prod(shape),
        "status": "ok",
        "packing": "plain",
        "host": "studio",
        **values,
    }


VALUES = (
    make_values(
        "model.layers.0.self_attn.q_proj.weight",
        (4, 6),
        layer_index=0,
        rows=4,
        cols=6,
        read_seconds=1e-07,
        compute_seconds=0.1,
        read_gbps=123456789012345680.0,
        min=-0.5,
        mean=-0.0,
        max=0.5,
        std=0.25,
        var=0.0625,
        sparsity=0.0,
        q01=-0.4,
        q50=5e-324,
        q99=1 / 3,
        value_dtype="BF16",
        rank=3,
        effective_rank=2.75,
        condition_number=math.inf,
        alpha_reliable=False,
    ),
    make_values("model.norm.weight", (6,), min=1.0, mean=1.0, max=1.0, std=0.0, var=0.0),
    make_values("scalar", (), status="scalar", status_reason='0-D, "no" spectrum,\nsee\tname'),
    make_values("größe\r\n\x01", (2, 3, 3), expert_index=0, rows=3, cols=3, rank=3),
    make_values("größe\r\n\x01", (2, 3, 3), expert_index=1, rows=3, cols=3, alpha_reliable=True),
)


@pytest.fixture(scope="session")
def columns():
    return table_columns(METRICS)


@pytest.fixture(scope="session")
def rows():
    return tuple(Row(index, values) for index, values in enumerate(VALUES))


@pytest.fixture(scope="session")
def table(rows, columns):
    return rows_to_table(rows, columns)
