import math

import pandas as pd
import pytest

from mlx_probe.core.errors import ResultError
from mlx_probe.runs.folder import resolve_output
from mlx_probe.runs.journal import Journal
from mlx_probe.runs.load import load_run, read_table
from mlx_probe.runs.meta import columns_to_meta, write_meta
from mlx_probe.runs.outputs import finalize
from mlx_probe.runs.table import WRITERS


@pytest.fixture
def finish(table, columns):
    """Writes a finished run to a folder or file."""

    def finish(out, formats=()):
        paths = resolve_output(out, formats, "owner/tiny")
        outputs = finalize(paths, table)
        meta = {"model_id": "owner/tiny", "columns": columns_to_meta(columns), "outputs": outputs}
        write_meta(paths.meta, meta)
        return paths

    return finish


@pytest.mark.parametrize("name", WRITERS)
def test_load_run_gives_the_right_types(name, finish, tmp_path, rows):
    finish(tmp_path, [name])
    frame = load_run(str(tmp_path))
    assert frame.attrs["meta"]["model_id"] == "owner/tiny"
    types = {key: str(value) for key, value in frame.dtypes.items()}
    assert types["rank"] == types["numel"] == "Int64"
    assert types["mean"] == "float64"
    assert types["alpha_reliable"] == "boolean"
    assert types["param_name"] == types["status_reason"] == "string"
    assert types["created_at"] == "datetime64[us, UTC]"
    assert list(frame["shape"]) == [row.values["shape"] for row in rows]
    assert frame["rank"].isna().tolist() == [False, True, True, False, True]
    assert frame["condition_number"][0] == math.inf
    assert math.isnan(frame["mean"][2])
    assert frame["created_at"][0] == pd.Timestamp(rows[0].values["created_at"])
    assert frame["status_reason"][2] == rows[2].values["status_reason"]


def test_an_empty_run(columns, tmp_path, table):
    paths = resolve_output(tmp_path, [], "m")
    outputs = finalize(paths, table.slice(0, 0))
    write_meta(paths.meta, {"columns": columns_to_meta(columns), "outputs": outputs})
    frame = load_run(tmp_path)
    assert len(frame) == 0
    assert str(frame.dtypes["rank"]) == "Int64"


def test_read_table_returns_what_was_written(finish, tmp_path, table, columns):
    finish(tmp_path)
    loaded, loaded_columns, meta = read_table(tmp_path)
    assert loaded.equals(table)
    assert loaded.schema.equals(table.schema)
    assert [column.name for column in loaded_columns] == [column.name for column in columns]
    assert meta["model_id"] == "owner/tiny"


def test_some_columns_are_read_in_the_order_of_the_table(finish, tmp_path, table):
    finish(tmp_path)
    loaded, columns, _ = read_table(tmp_path, {"rank", "param_name", "unknown"})
    assert loaded.equals(table.select(["param_name", "rank"]))
    assert [column.name for column in columns] == ["param_name", "rank"]


def test_folder_meta_and_tables_are_the_same_run(finish, tmp_path, table):
    paths = finish(tmp_path / "a.csv", ["jsonl", "parquet"])
    for path in (tmp_path, paths.meta, *map(paths.table, paths.formats)):
        assert read_table(path)[0].equals(table)


def test_the_most_typed_format_is_read(finish, tmp_path, table):
    paths = finish(tmp_path, ["csv", "parquet", "jsonl"])
    paths.table("csv").unlink()
    paths.table("jsonl").unlink()
    assert read_table(tmp_path)[0].equals(table)


def test_another_table_stands_in_for_one_that_is_gone_or_damaged(finish, tmp_path, table, caplog):
    paths = finish(tmp_path, ["csv", "jsonl", "parquet"])
    paths.table("parquet").unlink()
    assert read_table(tmp_path)[0].equals(table)
    assert caplog.messages[0].endswith("params.jsonl is read instead")
    paths.table("jsonl").write_bytes(b"")
    assert read_table(tmp_path)[0].equals(table)
    # The user named this one; and the first is named where none is left.
    fails(paths.table("jsonl"), r"params\.jsonl: 0 bytes instead of", "Restore")
    paths.table("csv").unlink()
    fails(tmp_path, r"cannot read .*params\.parquet", "Restore the file, or run the same")


def test_tables_of_older_runs_are_not_read(finish, tmp_path, table):
    finish(tmp_path, ["parquet"])
    (tmp_path / "params.parquet").write_bytes(b"old")
    finish(tmp_path, ["csv"])
    assert read_table(tmp_path)[0].equals(table)
    with pytest.raises(ResultError, match="lists no parquet table"):
        read_table(tmp_path / "params.parquet")


def fails(path, fact, remedy):
    with pytest.raises(ResultError, match=fact) as caught:
        read_table(path)
    assert remedy in caught.value.remedy


@pytest.mark.parametrize("name", ["", "params.csv", "run_meta.json", "params.0123.partial.jsonl"])
def test_an_unfinished_run_says_how_to_resume(tmp_path, columns, name):
    Journal(tmp_path / "params.0123.partial.jsonl", "0123", columns).close()
    fails(tmp_path / name, r"not finished.*params\.0123\.partial", "to resume")


def test_nothing_there(tmp_path):
    fails(tmp_path, "holds no run", "mlx-probe analyze")
    fails(tmp_path / "absent", "does not exist", "Check the path")
    fails(tmp_path / "absent.csv", "does not exist", "Check the path")
    fails(tmp_path / "run_meta.json", "does not exist", "Check the path")


def test_a_table_without_its_metadata(finish, tmp_path):
    finish(tmp_path).meta.unlink()
    fails(tmp_path / "params.csv", "no run_meta.json beside it", "Keep the files")


def test_several_runs_in_one_folder(finish, tmp_path, table):
    finish(tmp_path / "a.csv")
    finish(tmp_path / "b.csv")
    fails(tmp_path, r"a\.run_meta\.json, b\.run_meta\.json", "Name one")
    assert read_table(tmp_path / "b.csv")[0].equals(table)
    assert read_table(tmp_path / "a.run_meta.json")[0].equals(table)


@pytest.mark.parametrize(
    "meta",
    [
        {},
        {"columns": []},
        {"columns": [{"name": "x"}], "outputs": {}},
        {"columns": [{"name": "x", "type": "int7"}], "outputs": {}},
        {"columns": [{"name": "x", "type": "int64", "odd": 1}], "outputs": {}},
        {"columns": 3, "outputs": {}},
    ],
)
def test_metadata_of_something_else(tmp_path, meta):
    write_meta(tmp_path / "run_meta.json", meta)
    fails(tmp_path, "run_meta.json does not describe a run", "again")


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("garbage", [b"garbage\n", b"\xff\xfe\n1\n", b"\0"])
def test_a_damaged_table(finish, tmp_path, name, garbage):
    table = finish(tmp_path, [name]).table(name)
    size = table.stat().st_size
    table.write_bytes((garbage * size)[:size])
    fails(tmp_path, rf"cannot read .*params\.{name}", "Restore")


@pytest.mark.parametrize("name", WRITERS)
def test_a_missing_table(finish, tmp_path, name):
    finish(tmp_path, [name]).table(name).unlink()
    fails(tmp_path, rf"cannot read .*params\.{name}", "Restore")


@pytest.mark.parametrize("name", ["csv", "jsonl"])
def test_a_table_that_lost_whole_lines(finish, tmp_path, name):
    table = finish(tmp_path, [name]).table(name)
    lines = table.read_bytes().splitlines(keepends=True)
    table.write_bytes(b"".join(lines[:-1]))
    fails(tmp_path, rf"params\.{name}: .* bytes instead of", "Restore")


@pytest.mark.parametrize("cell", ['"[4, 6}"', '"{    }"', '" 4.5  "'])
def test_an_edited_cell(finish, tmp_path, cell):
    table = finish(tmp_path).table("csv")
    table.write_bytes(table.read_bytes().replace(b'"[4, 6]"', cell.encode()))
    fails(tmp_path, r"cannot read .*params\.csv", "Restore")
