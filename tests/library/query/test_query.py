"""Statements over runs of all formats and versions, with the types that the runs recorded."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pytest
from models import edit_meta

import mlx_probe
from mlx_probe.analysis.side_tables import SIDES
from mlx_probe.core.errors import ConfigError, ResultError
from mlx_probe.library.query import MOST_COUNTED, Scope
from mlx_probe.library.query import ask as ask_whole


def test_a_row_for_each_run(ask, stored):
    rows = {row["run"]: row for row in ask("from runs")}
    assert set(rows) == {"pair", "quick", "tuned", "base"}
    base = rows["base"]
    assert base["folder"] == str(stored.runs / "base")
    assert (base["kind"], base["metrics"], base["layers"], base["heads"]) == (
        "analyze",
        "full",
        8,
        6,
    )
    assert base["rows"] == base["rows_ok"] == len(stored.arrays)
    assert base["passed"]
    assert base["unread"] is None
    assert base["seconds"] > 0
    assert (base["findings_high"], base["findings_medium"], base["findings_note"]) == (1, 0, 1)
    assert rows["quick"]["metrics"] == "basic"
    assert json.loads(base["configuration"])["workers"] == 1
    assert rows["pair"]["kind"] == "compare"
    assert rows["pair"]["model"].endswith("base")
    assert rows["pair"]["other_model"].endswith("tuned")


@pytest.mark.parametrize("run", ["base", "tuned", "quick"])
def test_every_format_gives_what_load_run_gives(stored, run):
    """CSV, JSONL and Parquet: types, nulls and values."""
    table = mlx_probe.query(
        f"select * exclude (run) from params where run = '{run}'", [stored.runs]
    )
    frame = mlx_probe.load_run(stored.runs / run)
    assert set(frame.columns) <= set(table.column_names)
    for name in frame.columns:
        mine, kind = table[name].to_pylist(), table.schema.field(name).type
        theirs = [
            None if gone else value
            for value, gone in zip(frame[name], frame[name].isna(), strict=True)
        ]
        if pa.types.is_list(kind):
            mine = [None if item is None else tuple(item) for item in mine]
        assert mine == theirs, name
    for name in set(table.column_names) - set(frame.columns):
        assert table[name].null_count == len(table), name


def test_tables_with_different_columns_are_joined_by_name(ask):
    rows = ask("select run, count(alpha) as a, count(rank) as r from params group by 1 order by 1")
    by_run = {row["run"]: row for row in rows}
    assert by_run["quick"]["a"] == 0 < by_run["base"]["a"]
    assert by_run["quick"]["r"] == by_run["base"]["r"] > 0


def test_a_column_whose_type_has_changed_is_a_number_or_text(ask, stored, tmp_path):
    for name in ("base", "tuned"):
        shutil.copytree(stored.runs / name, tmp_path / name)

    def older(meta):
        column = next(entry for entry in meta["columns"] if entry["name"] == "rank")
        column["type"] = "float64"

    edit_meta(tmp_path / "tuned", older)
    kinds = ask("select distinct run, typeof(rank) as kind from params", tmp_path)
    assert {row["kind"] for row in kinds} == {"DOUBLE"}


def test_spectra_are_the_singular_values(ask, stored):
    rows = ask("select param_name, singular_values from spectra where run = 'base'")
    values = {row["param_name"]: row["singular_values"] for row in rows}
    copies = ask("select param_name from params where run = 'base' and alias_of is not null")
    assert len(copies) == 1
    for name, array in stored.arrays.items():
        if array.ndim == 2 and name != copies[0]["param_name"]:
            exact = np.linalg.svd(array.astype(np.float64), compute_uv=False)
            np.testing.assert_allclose(values[name], exact, rtol=0, atol=3e-8 * exact[0])
    assert {row["run"] for row in ask("select distinct run from spectra")} == {"base", "tuned"}


def test_a_view_can_be_scanned_twice(ask, stored):
    joined = "from params a join params b using (run, param_name)"
    (row,) = ask(f"select count(*) as n {joined} where a.rows is not null")
    # Where a view has no rows too: what the statement names is not known before it is bound.
    assert ask(f"select count(*) as n {joined}", stored.runs / "base")[0]["n"] == len(stored.arrays)
    (single,) = ask("select count(*) as n from params where rows is not null")
    assert row == single


def test_the_catalog_names_models_and_finds_runs(ask, stored):
    rows = ask("select id, format, parameters, analyzed_at from models order by id")
    by_name = {row["id"].rpartition("/")[2]: row for row in rows}
    assert set(by_name) == {"base", "tuned", "other"}
    assert by_name["other"]["parameters"] == 16
    assert by_name["other"]["analyzed_at"] is None
    assert by_name["base"]["analyzed_at"] is not None
    files = ask("select id, role, size from model_files where role = 'weights'")
    assert len(files) == 3
    assert all(row["size"] > 0 for row in files)
    known = mlx_probe.query(
        "select run from runs order by run", catalog=True, database=stored.database
    )
    assert known["run"].to_pylist() == ["base", "pair", "quick", "tuned"]


def test_without_a_catalog_there_are_no_models_and_none_is_made(stored, tmp_path):
    file = tmp_path / "there" / "is" / "none.sqlite"
    assert mlx_probe.query("from models", [stored.runs], database=file).num_rows == 0
    assert not file.parent.exists()


def test_findings_are_rows(ask):
    high, note = ask("from findings where run = 'base' order by position")
    assert (high["run"], high["rule"], high["severity"]) == ("base", "rank_lost", "high")
    assert json.loads(high["evidence"]) == {"rank": 12}
    assert note["rows"] == []


def test_results_have_plain_types(stored):
    sql = """
      select sum(numel) as whole, sum(170141183460469231731687303715884105727::hugeint) as large,
        1.25::decimal(5, 2) as part, count(*)::uinteger as unsigned, 1.5::float as short,
        null as nothing, 'a'::enum('a', 'b') as word, 1 as twice, 2 as twice
      from params where run = 'base' and param_name like '%norm%'"""
    table = mlx_probe.query(sql.replace("sum(17", "any_value(17"), [stored.runs])
    kinds = {field.name: str(field.type) for field in table.schema}
    assert kinds == {
        "whole": "int64", "large": "double", "part": "double", "unsigned": "int64",
        "short": "double", "nothing": "string", "word": "string", "twice": "int64",
        "twice_2": "int64",
    }  # fmt: skip
    assert table["whole"].to_pylist() == [8 * 40]


def test_runs_of_one_name_are_known_by_their_paths(ask, stored, tmp_path):
    for place in ("one", "two"):
        shutil.copytree(stored.runs / "quick", tmp_path / place / "quick")
    names = {row["run"] for row in ask("select run from runs", tmp_path)}
    assert names == {str(tmp_path / place / "quick") for place in ("one", "two")}


def test_a_run_named_by_its_time_has_its_model_before_it(ask, stored, tmp_path):
    folder = tmp_path / "tiny" / "2026-01-02T03-04-05Z"
    shutil.copytree(stored.runs / "quick", folder)
    assert [row["run"] for row in ask("select run from runs", tmp_path)] == [
        "tiny/2026-01-02T03-04-05Z"
    ]
    # A model's folder is a folder of runs, a table's file is its run.
    for path in (folder.parent, folder, folder / "params.parquet", folder / "run_meta.json"):
        assert len(ask("select run from runs", path)) == 1


def test_a_damaged_run_is_named(ask, stored, tmp_path):
    shutil.copytree(stored.runs / "base", tmp_path / "base")
    file = tmp_path / "base" / "params.csv"
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(ResultError, match=r"cannot read .*params\.csv: \d+ bytes instead of"):
        ask("select avg(std) from params", tmp_path)
    # Its other views are as they were.
    assert ask("select count(*) as n from heads", tmp_path)[0]["n"] > 0
    (tmp_path / "base" / "run_meta.json").write_text("{")
    with pytest.raises(ResultError, match=r"cannot read .*run_meta\.json") as caught:
        ask("from runs", tmp_path)
    assert "name other runs with --runs" in caught.value.remedy


@pytest.mark.parametrize(
    ("sql", "says", "remedy"),
    [
        ("select stable_rnk from params", 'column "stable_rnk" not found', "stable_rank"),
        ("from parms", "parms does not exist", "Did you mean params?"),
        ("from nothing_like_it", "does not exist", "runs or params or compare"),
        ("selct 1", "syntax error", "--schema"),
        ("select sqrt('a')", "Could not convert", "--schema"),
        ("", "0 statements", "one SELECT"),
        ("select 1; select 2", "2 statements", "one SELECT"),
    ],
)
def test_a_wrong_statement_gets_one_message(ask, sql, says, remedy):
    with pytest.raises(ConfigError) as caught:
        ask(sql)
    assert says in caught.value.fact
    assert remedy in caught.value.remedy


@pytest.mark.parametrize("name", SIDES)
def test_a_table_that_no_run_has_is_named_with_what_makes_it(ask, stored, name):
    with pytest.raises(ResultError, match=f"has a table '{name}'") as caught:
        ask(f"select * from {name}", stored.runs / "quick")
    assert "--metrics full" in caught.value.remedy


def test_a_view_without_rows_says_so(ask, stored):
    with pytest.raises(ResultError, match=r"no run in .* has rows for 'compare'"):
        ask("select delta_rank from compare", stored.runs / "base")


def test_without_runs_there_is_an_error_but_not_for_the_catalog(tmp_path, monkeypatch, stored):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ResultError, match="no finished run in data/outputs"):
        mlx_probe.query("from params")
    assert mlx_probe.query("from runs").num_rows == 0
    assert mlx_probe.query("from models", database=stored.database).num_rows == 3
    with pytest.raises(ResultError, match="holds no run"):
        mlx_probe.query("from runs", tmp_path)


def test_an_answer_is_cut_where_it_was_asked(stored):
    (row,) = ask_whole("select count(*) as n from params", Scope((stored.runs,))).table.to_pylist()
    answer = ask_whole("from params", Scope((stored.runs,)), limit=7)
    assert (answer.table.num_rows, answer.left_out) == (7, row["n"] - 7)
    whole = ask_whole("from runs", Scope((stored.runs,)), limit=4)
    assert (whole.table.num_rows, whole.left_out) == (4, 0)
    endless = ask_whole("from range(1000000000000)", Scope((stored.runs,)), limit=3)
    assert (endless.table.num_rows, endless.left_out) == (3, MOST_COUNTED)


def test_an_endless_statement_is_stopped(stored):
    endless = "select sum(sqrt(a.range * b.range)) from range(10000000) a, range(1000000) b"
    with pytest.raises(ConfigError, match=r"stopped after 0\.3 seconds"):
        mlx_probe.query(endless, [stored.runs], timeout=0.3)
