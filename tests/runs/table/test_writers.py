import csv
import json
import math
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

import pyarrow as pa
import pyarrow.json
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_probe.core.records import Column, Row
from mlx_probe.report.docs import TABLES
from mlx_probe.runs.folder import resolve_output
from mlx_probe.runs.load import read_table
from mlx_probe.runs.meta import columns_to_meta, write_meta
from mlx_probe.runs.outputs import finalize
from mlx_probe.runs.table import WRITERS, Writer
from mlx_probe.runs.table.schema import arrow_schema, rows_to_table

GOLDEN = Path(__file__).parent / "golden"
COLUMNS = (
    Column("name", "string", "", "", required=True),
    Column("text", "string", "", ""),
    Column("count", "int64", "", ""),
    Column("number", "float64", "", ""),
    Column("flag", "bool", "", ""),
    Column("at", "timestamp", "", ""),
    Column("shape", "list<int64>", "", ""),
    Column("pieces", "list<string>", "", ""),
)
INT64 = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
VALUES = st.fixed_dictionaries(
    {"name": TEXT},
    optional={
        "text": TEXT,
        "count": INT64,
        "number": st.floats(allow_nan=False),
        "flag": st.booleans(),
        "at": st.datetimes(
            datetime(1970, 1, 1), datetime(2262, 1, 1), timezones=st.just(timezone.utc)
        ),
        "shape": st.lists(INT64, max_size=3).map(tuple),
        "pieces": st.lists(TEXT, max_size=3).map(tuple),
    },
)


def bits(table):
    """The table's floats as text, in which -0.0 and 0.0 differ."""
    return [repr(value) for value in table["number"].to_pylist()]


@pytest.mark.parametrize("name", WRITERS)
@settings(max_examples=60, deadline=None)
@given(values=st.lists(VALUES, max_size=4))
def test_reads_back_the_identical_table(name, values, tmp_path_factory):
    table = rows_to_table([Row(index, value) for index, value in enumerate(values)], COLUMNS)
    path = tmp_path_factory.getbasetemp() / f"table.{name}"
    WRITERS[name].write(table, path)
    result = WRITERS[name].read(path, arrow_schema(COLUMNS))
    assert result.schema.equals(table.schema, check_metadata=True)
    assert result.equals(table)
    assert bits(result) == bits(table)


@pytest.mark.parametrize("name", WRITERS)
@settings(max_examples=20, deadline=None)
@given(
    values=st.lists(VALUES, max_size=4),
    only=st.lists(st.sampled_from([column.name for column in COLUMNS]), min_size=1, unique=True),
)
def test_reads_some_columns_as_it_reads_all(name, values, only, tmp_path_factory):
    table = rows_to_table([Row(index, value) for index, value in enumerate(values)], COLUMNS)
    path = tmp_path_factory.getbasetemp() / f"some.{name}"
    WRITERS[name].write(table, path)
    result = WRITERS[name].read(path, arrow_schema(COLUMNS), only)
    assert result.schema.equals(table.select(only).schema)
    assert result.equals(table.select(only))


@pytest.mark.parametrize("name", WRITERS)
def test_a_table_of_other_columns_is_refused_whichever_are_read(name, tmp_path):
    path = tmp_path / f"table.{name}"
    WRITERS[name].write(rows_to_table([Row(0, {"name": "a"})], COLUMNS), path)
    schema = arrow_schema((*COLUMNS, Column("more", "string", "", "")))
    for only in (None, ["name"]):
        with pytest.raises(ValueError, match=r"columns|header"):
            WRITERS[name].read(path, schema, only)


EDGE_VALUES = [
    {"name": "", "text": "", "number": -0.0, "shape": ()},
    {"name": "nul\x00 cr\r lf\n crlf\r\n tab\t", "text": '"', "number": 5e-324},
    {"name": "null", "text": "NULL", "number": math.inf, "count": 2**63 - 1},
    {"name": "nan", "text": "\u2028é\U0001f600", "number": -math.inf, "count": -(2**63)},
    {"name": "true", "text": " a, b ", "number": 2.2250738585072014e-308, "flag": True},
    {"name": "1.0", "text": "1e999", "number": 1.7976931348623157e308, "shape": (49152, 576)},
]


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("values", [[], EDGE_VALUES], ids=["empty", "edge"])
def test_edge_values_survive(name, values, tmp_path):
    table = rows_to_table([Row(index, value) for index, value in enumerate(values)], COLUMNS)
    WRITERS[name].write(table, tmp_path / "t")
    result = WRITERS[name].read(tmp_path / "t", table.schema)
    assert result.equals(table)
    assert bits(result) == bits(table)


@pytest.mark.parametrize("name", WRITERS)
def test_a_null_in_a_required_column_still_reaches_the_disk(name, tmp_path):
    table = rows_to_table([Row(0, {"count": 1})], COLUMNS)
    WRITERS[name].write(table, tmp_path / "t")
    assert WRITERS[name].read(tmp_path / "t", table.schema)["name"].to_pylist() == [None]


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("change", ["missing", "extra", "order", "type"])
def test_other_columns_are_refused(name, change, tmp_path):
    columns = {
        "missing": (*COLUMNS, Column("more", "int64", "", "")),
        "extra": COLUMNS[:-1],
        "order": COLUMNS[::-1],
        "type": (Column("name", "int64", "", ""), *COLUMNS[1:]),
    }[change]
    WRITERS[name].write(rows_to_table([Row(0, {"name": "a"})], COLUMNS), tmp_path / "t")
    with pytest.raises((ValueError, TypeError)):
        WRITERS[name].read(tmp_path / "t", arrow_schema(columns))


@pytest.mark.parametrize("name", ["csv", "jsonl"])
def test_golden_text(name, table, tmp_path):
    golden = GOLDEN / f"params.{name}"
    WRITERS[name].write(table, tmp_path / "t")
    assert (tmp_path / "t").read_bytes() == golden.read_bytes()
    assert WRITERS[name].read(golden, table.schema).equals(table)


def test_golden_parquet_schema(table, tmp_path):
    WRITERS["parquet"].write(table, tmp_path / "t")
    file = pa.parquet.ParquetFile(tmp_path / "t")
    leaves = [file.schema.column(index) for index in range(len(file.schema))]
    lines = [f"{leaf.name} {leaf.physical_type} {leaf.logical_type}\n" for leaf in leaves]
    assert "".join(lines) == (GOLDEN / "parquet_schema.txt").read_text()
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"


def test_csv_in_other_readers(table, tmp_path):
    WRITERS["csv"].write(table, tmp_path / "t")
    with (tmp_path / "t").open(newline="") as file:
        first, *others = csv.DictReader(file)
    assert first["shape"] == "[4, 6]"
    assert first["created_at"] == "2025-01-31T09:00:00.250000Z"
    assert first["condition_number"] == "inf"
    assert first["expert_index"] == ""
    assert [row["param_name"] for row in others] == table["param_name"].to_pylist()[1:]


def test_jsonl_is_strict_json(table, tmp_path):
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    WRITERS["jsonl"].write(table, tmp_path / "t")
    lines = (tmp_path / "t").read_text().splitlines()
    first, second, *_ = (json.loads(line, parse_constant=refuse) for line in lines)
    # 1e999 for infinity is refused by polars and pyarrow, and jq prints the largest float.
    assert first["condition_number"] is None
    assert first["infinite"] == ["condition_number"]
    assert second["infinite"] == []
    assert first["expert_index"] is None


def test_jsonl_of_older_runs_is_read(table, tmp_path):
    WRITERS["jsonl"].write(table, tmp_path / "t")
    lines = (tmp_path / "t").read_text().splitlines()
    older = [line[: line.index(', "infinite"')] + "}" for line in lines]
    older[0] = older[0].replace('"condition_number": null', '"condition_number": 1e999')
    (tmp_path / "t").write_text("\n".join(older) + "\n")
    assert WRITERS["jsonl"].read(tmp_path / "t", table.schema).equals(table)


def test_jsonl_in_another_strict_reader(table, tmp_path):
    WRITERS["jsonl"].write(table, tmp_path / "t")
    read = pa.json.read_json(tmp_path / "t")
    assert read["condition_number"].to_pylist()[0] is None
    assert read["infinite"].to_pylist()[0] == ["condition_number"]


def test_a_new_record_is_all_that_a_format_needs(table, columns, tmp_path, monkeypatch):
    def write(table, path):
        path.write_bytes(b"made up")

    def read(path, schema, only):
        assert path.read_bytes() == b"made up"
        assert only is None
        return table

    monkeypatch.setitem(WRITERS, "made", Writer("made-up files", write, read))
    by_suffix = resolve_output(tmp_path / "rows.made", [], "m")
    assert (by_suffix.folder, by_suffix.stem, by_suffix.formats) == (tmp_path, "rows", ("made",))
    paths = resolve_output(tmp_path, ["csv", "made"], "m")
    outputs = finalize(paths, table)
    assert list(outputs) == ["params.csv", "params.made"]
    write_meta(paths.meta, {"columns": columns_to_meta(columns), "outputs": outputs})
    assert read_table(tmp_path)[0] is table
    assert "| `made` | made-up files |" in TABLES["WRITERS"]()


def test_the_list_of_formats_costs_no_heavy_import():
    code = (
        "import sys, mlx_probe.runs.folder\nprint(*{'pyarrow', 'pandas'}.intersection(sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert result.stdout.strip() == ""
