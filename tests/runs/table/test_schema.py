import pyarrow as pa
import pytest

from mlx_probe.core.records import Column, Row
from mlx_probe.runs.table.schema import arrow_schema, rows_to_table


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
