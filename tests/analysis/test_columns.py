"""The columns of an analysis: their order, their names, their documentation."""

import pytest

from mlx_probe.analysis.columns import BASE_COLUMNS, table_columns
from mlx_probe.core.records import Column

# Issue 2, item 6, word for word.
SEED = """model_path, model_id, revision, param_name, layer_index, block_type, shape, rows, cols,
    rank, mean, std, var, sparsity, dtype, created_at"""
THEN = """device, backend, framework, code_version, component, expert_index, numel, nbytes,
    read_seconds, compute_seconds, read_gbps, status, status_reason, part, packing,
    packing_detail, bits_per_weight, pieces, alias_of, host"""
METRICS = """min, max, q01, q50, q99, value_dtype, effective_rank, condition_number,
    alpha_reliable"""


def test_columns_are_in_the_published_order(columns):
    expected = ",".join([SEED, THEN, METRICS]).replace(",", " ").split()
    assert [column.name for column in columns] == expected


def test_every_base_column_is_documented():
    for column in BASE_COLUMNS:
        assert column.family, column
        assert column.description.endswith("."), column


@pytest.mark.parametrize("absent", ["rank", "mean", "std", "var", "sparsity"])
def test_a_missing_seed_metric_is_an_error(columns, absent):
    base = {column.name for column in BASE_COLUMNS}
    metrics = [column for column in columns if column.name not in {*base, absent}]
    with pytest.raises(ValueError, match=absent):
        table_columns(metrics)


def test_a_metric_cannot_take_a_base_columns_name(columns):
    base = {column.name for column in BASE_COLUMNS}
    metrics = [column for column in columns if column.name not in base]
    with pytest.raises(ValueError, match="status"):
        table_columns([*metrics, Column("status", "string", "moments", "")])
