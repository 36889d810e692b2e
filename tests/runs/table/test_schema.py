import pyarrow as pa
import pytest

from mlx_probe.core.records import Column, Row
from mlx_probe.runs.table.schema import BASE_COLUMNS, arrow_schema, rows_to_table, table_columns

# Issue 2, item 6, word for word.
SEED = """model_path, model_id, revision, param_name, layer_index, block_type, shape, rows, cols,
    rank, mean, std, var, sparsity, dtype, created_at"""
THEN = """device, backend, framework, code_version, component, expert_index, numel, nbytes,
    read_seconds, compute_seconds, read_gbps, status, status_reason, part, packing,
    packing_detail, bits_per_weight, pieces, alias_of"""
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


def test_arrow_types_and_nullability():
    types = {
        "string": pa.string(),
        "int64": pa.int64(),
        "float64": pa.float64(),
        "bool": pa.bool_(),
        "timestamp": pa.timestamp("us", tz="UTC"),
        "list<int64>": pa.list_(pa.int64()),
    }
    schema = arrow_schema([Column(kind, kind, "", "", required=True) for kind in types])
    assert dict(zip(schema.names, schema.types, strict=True)) == types
    assert not any(field.nullable for field in schema)
    assert arrow_schema([Column("x", "int64", "", "")]).field("x").nullable


def test_rows_are_sorted_and_absent_values_are_null(rows, columns, table):
    assert rows_to_table(reversed(rows), columns).equals(table)
    assert table["param_name"].to_pylist() == [row.values["param_name"] for row in rows]
    assert table["shape"].to_pylist()[:3] == [[4, 6], [6], []]
    assert table["rank"].to_pylist() == [3, None, None, 3, None]


def test_nan_becomes_null():
    columns = [Column("x", "float64", "", "")]
    rows = [Row(0, {"x": float("nan")}), Row(1, {"x": float("inf")})]
    assert rows_to_table(rows, columns)["x"].to_pylist() == [None, float("inf")]


def test_an_undeclared_value_is_an_error(columns):
    with pytest.raises(ValueError, match=r"row 7 .*'rnak'"):
        rows_to_table([Row(7, {"rnak": 1})], columns)
