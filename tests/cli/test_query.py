"""`mlx-probe query` as a shell sees it: formats, records, standard input, failures."""

import csv
import io
import json
import math
import signal
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner
from models import invoke, refuses
from tinymodel import COMMAND, heed_ctrl_c, run

from mlx_probe.cli import cli

NUMBERS = """
  select run, count(*) as n, 'inf'::double as infinite, 'nan'::double as nothing,
    list(rows order by rows)[1:2] as first, true as yes, null as none, timestamp '2026-01-02' as at
  from params where run = 'base' group by run"""


@pytest.fixture
def asked(stored):
    def ask(*arguments, **environment):
        return invoke("query", "--runs", stored.runs, *arguments, **environment)

    return ask


def test_json_is_strict_and_typed(asked):
    result = asked(NUMBERS, "--json")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""

    def refuse(word):
        raise ValueError(f"{word} is not JSON")

    document = json.loads(result.stdout, parse_constant=refuse)
    (row,) = document["rows"]
    assert row == {
        "run": "base", "n": 71 + 1, "infinite": math.inf, "nothing": None, "first": [24, 24],
        "yes": True, "none": None, "at": "2026-01-02T00:00:00.000000Z",
    }  # fmt: skip
    assert [column["name"] for column in document["columns"]] == list(row)
    assert asked(NUMBERS, "--format", "json").stdout == result.stdout


def test_csv_has_all_digits_and_whole_names(asked):
    result = asked("select run, param_name, std from params", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    document = json.loads(asked("select run, param_name, std from params", "--json").stdout)
    assert [{**row, "std": float(row["std"])} for row in rows] == document["rows"]
    text = asked(NUMBERS, "--format", "csv").stdout
    assert text.splitlines()[1] == 'base,72,inf,nan,"[24, 24]",true,,2026-01-02T00:00:00.000000Z'


def test_markdown_escapes_what_has_a_meaning(asked):
    result = asked("select 'a|b*' as word, 1.5 as half", "--format", "markdown")
    assert result.stdout == "| word | half |\n| --- | --- |\n| a\\|b\\* | 1.5 |\n"


def test_a_wide_row_is_a_record_and_a_pipe_has_no_width(asked, stored):
    narrow = asked("from runs limit 1", COLUMNS="80")
    assert max(map(len, narrow.stdout.splitlines())) <= 80
    assert narrow.stdout.startswith("row 1\n")
    piped = asked("select run, folder, configuration from runs").stdout
    assert str(stored.runs / "base") in piped
    assert asked("select 1 as x where false").stdout.split() == ["x", "─", "no", "rows"]


def test_nothing_from_a_file_can_do_harm_on_a_terminal(asked):
    result = asked("select '[bold]x[/]' || chr(27) || '[2J' as word")
    assert "[bold]x[/]\\x1b[2J" in result.stdout
    assert "\x1b" not in result.stdout


def test_the_schema_lists_views_and_meanings(asked):
    views = {v["name"]: v for v in json.loads(asked("--schema", "--json").stdout)["views"]}
    assert list(views)[:3] == ["runs", "params", "compare"]
    assert {"spectra", "findings", "models", "model_files", "heads", "experts"} <= set(views)
    for name, view in views.items():
        assert view["rows"], name
        assert all(column["description"] and column["type"] for column in view["columns"]), name
    text = asked("--schema").stdout
    assert all(name in text for name in ("runs", "effective_rank", "nearest_cosine", "licence"))


def test_the_statement_may_come_from_standard_input(stored):
    arguments = ["query", "--runs", str(stored.runs), "-", "--format", "csv"]
    result = CliRunner().invoke(cli, arguments, input="select count(*) as n from runs")
    assert result.stdout == "n\n4\n"


@pytest.mark.parametrize(
    ("arguments", "says", "code"),
    [
        (["select stable_rnk from params"], "stable_rank", 2),
        (["copy params to 'x.csv'"], "COPY statements are refused", 2),
        ([], "--schema", 2),
        (["from runs", "--schema"], "--schema", 2),
        (["from runs", "--runs", "/nowhere/at/all"], "does not exist", 1),
    ],
)
def test_a_failure_is_one_message_and_in_json_one_document(asked, arguments, says, code):
    message = refuses(asked(*arguments), says, code=code)
    result = asked(*arguments, "--json")
    assert refuses(result, says, code=code) == message
    error = json.loads(result.stdout)["error"]
    assert error["exit_code"] == code
    assert message == f"Error: {error['fact']}\n  {error['remedy']}\n"


def test_a_wrong_command_line_is_a_document_too(asked):
    for arguments in (["--format", "xml"], ["--no-such-option"]):
        result = asked("from runs", "--json", *arguments)
        assert result.exit_code == 2
        error = json.loads(result.stdout)["error"]
        assert error["fact"] in result.stderr
        assert error["exit_code"] == 2


def test_without_duckdb_there_is_one_clear_message(stored):
    code = (
        "import sys; sys.modules['duckdb'] = None; sys.argv[0] = 'mlx-probe';"
        "from mlx_probe.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "query", "from runs"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("Error: a query needs DuckDB")
    assert "pip install 'mlx-probe[query]'" in done.stderr


def test_the_installed_command_answers(stored):
    done = run("query", "--runs", stored.runs, "--format", "csv", "select count(*) as n from runs")
    assert (done.returncode, done.stdout, done.stderr) == (0, "n\n4\n", "")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("query", "select count(*) from range(1000000) a, range(1000000) b"), "interrupted"),
        (("mcp",), ""),
    ],
)
def test_ctrl_c_ends_it_without_a_traceback(stored, arguments, says):
    process = subprocess.Popen(
        [COMMAND, *arguments, "--runs", stored.runs],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_ctrl_c,
    )
    # Whatever it is doing then: loading, or already at work.
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in stderr
    assert says in stderr
