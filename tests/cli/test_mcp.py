"""`mlx-probe mcp` with the SDK's own client over standard input and output: one server for all."""

import json
import math
import os
import subprocess
import sys

import anyio
import pytest
from stored_runs import POOR
from tinymodel import COMMAND

from mlx_probe.cli.assistant.bounded import MOST_CHARACTERS, bounded, plain

TOOLS = {"inspect", "findings", "query", "explain", "compare-runs"}
# What is asked, by a name for the tests.
CALLS = {
    "runs": ("query", {"sql": "select run, metrics from runs order by run"}),
    "numbers": ("query", {"sql": "select 'inf'::double as a, 'nan'::double as b, [1, 2] as c"}),
    "cut": ("query", {"sql": "from params", "limit": 3}),
    "long": ("query", {"sql": "select run, singular_values from spectra"}),
    "count": ("query", {"sql": "select count(*) as n from spectra"}),
    "columns": ("query", {"sql": "describe heads", "limit": 5}),
    "catalog": ("query", {"sql": "from models"}),
    "wrong": ("query", {"sql": "select stable_rnk from params"}),
    "hostile": ("query", {"sql": "copy (select 1) to '{folder}/out.csv'"}),
    "sly": ("query", {"sql": "with w as (copy (select 1) to ':memory:' (format csv)) select 1"}),
    "secret": ("query", {"sql": "from read_text('{folder}/secret.txt')"}),
    "untyped": ("query", {"sql": "from runs", "limit": 0}),
    "findings": ("findings", {"run": "base"}),
    "severe": ("findings", {"run": "base", "least": "high"}),
    "stranger": ("findings", {"run": "{folder}/elsewhere"}),
    "misspelt": ("findings", {"run": "bsae"}),
    "inspect": ("inspect", {"name": "base", "match": "*.up_proj.weight", "limit": 4}),
    "model": ("inspect", {"name": "{root}/models/base"}),
    "outside": ("inspect", {"name": "{folder}/elsewhere"}),
    "above": ("inspect", {"name": "{root}/models/../secret"}),
    "remote": ("inspect", {"name": "Qwen/Qwen3-0.6B"}),
    "explain": ("explain", {"name": "alpha"}),
    "unknown": ("explain", {"name": "alhpa"}),
    "compared": ("compare-runs", {"runs": ["base", "tuned"], "metrics": ["stable_rank"]}),
    "all": ("compare-runs", {"runs": [], "metrics": [], "over_depth": True}),
    "nobody": ("compare-runs", {"runs": ["no-such-run"], "metrics": []}),
}


@pytest.fixture(scope="module")
def session(stored, tmp_path_factory):
    """What a client saw: the tools, and the result of each of `CALLS`."""
    from mcp import Client, StdioServerParameters

    folder = tmp_path_factory.mktemp("assistant")
    (folder / "secret.txt").write_text("SESAME")
    (folder / "elsewhere").mkdir()
    before = sorted(folder.rglob("*")), sorted(stored.root.rglob("*"))
    server = StdioServerParameters(
        command=str(COMMAND),
        args=["mcp", "--runs", str(stored.runs), "--models", str(stored.root / "models")],
        cwd=folder,
        env={**os.environ, "MLX_PROBE_LANG": "zh", "MLX_PROBE_CATALOG": str(stored.database)},
    )
    seen = {}

    async def talk():
        async with Client(server, read_timeout_seconds=60) as client:
            seen["tools"] = {tool.name: tool for tool in (await client.list_tools()).tools}
            for name, (tool, arguments) in CALLS.items():
                filled = {
                    key: value.format(folder=folder, root=stored.root)
                    if isinstance(value, str)
                    else value
                    for key, value in arguments.items()
                }
                seen[name] = await client.call_tool(tool, filled)

    anyio.run(talk)
    assert (sorted(folder.rglob("*")), sorted(stored.root.rglob("*"))) == before
    return seen


@pytest.fixture
def answer(session):
    def of(name):
        result = session[name]
        assert not result.is_error, result.content[0].text
        # Clients that show text see the same.
        assert json.loads(result.content[0].text) == result.structured_content
        return result.structured_content

    return of


@pytest.fixture
def refusal(session):
    def of(name):
        result = session[name]
        assert result.is_error
        text = result.content[0].text
        assert "Traceback" not in text
        assert "SESAME" not in text
        return text

    return of


def test_every_tool_is_typed_described_and_read_only(session):
    assert set(session["tools"]) == TOOLS
    for tool in session["tools"].values():
        assert len(tool.description) > 80
        assert "\n " not in tool.description
        assert tool.annotations.read_only_hint
        assert not tool.annotations.open_world_hint
        assert tool.output_schema["type"] == "object"
        for name, schema in tool.input_schema["properties"].items():
            assert schema.get("description"), (tool.name, name)


def test_a_query_gives_typed_rows(answer):
    rows = answer("runs")
    assert rows["rows"] == [
        {"run": "base", "metrics": "full"}, {"run": "pair", "metrics": None},
        {"run": "quick", "metrics": "basic"}, {"run": "tuned", "metrics": "full"},
    ]  # fmt: skip
    assert rows["left_out"] == 0
    assert rows["columns"][0] == {"name": "run", "type": "string"}
    (numbers,) = answer("numbers")["rows"]
    assert numbers == {"a": "infinity", "b": None, "c": [1, 2]}
    assert "run" in [row["column_name"] for row in answer("columns")["rows"]]


def test_a_large_result_is_cut_and_says_so(answer, session, stored):
    cut = answer("cut")
    assert len(cut["rows"]) == 3
    assert cut["left_out"] > 100
    long = answer("long")
    (spectra,) = answer("count")["rows"]
    assert long["left_out"] + len(long["rows"]) == spectra["n"]
    assert 0 < long["left_out"] < spectra["n"]
    # Indents of nested lists, and what stands around the rows.
    for name in CALLS:
        assert len(session[name].content[0].text) < 1.5 * MOST_CHARACTERS, name


@pytest.mark.parametrize("name", ["hostile", "sly", "secret", "untyped", "wrong"])
def test_a_hostile_or_wrong_statement_is_an_error_with_a_remedy(refusal, name):
    says = {
        "hostile": "COPY statements are refused", "sly": "sees nothing but its views",
        "secret": "sees nothing but its views", "untyped": "limit",
        "wrong": "Did you mean stable_rank",
    }  # fmt: skip
    assert says[name] in refusal(name)


def test_what_the_user_did_not_name_is_not_there(answer, refusal):
    # The catalog only with --catalog, models only below --models, runs only below --runs.
    assert answer("catalog")["rows"] == []
    for name in ("stranger", "outside", "above", "remote", "nobody"):
        assert "none of the 4 runs that this server shows" in refusal(name), name
    assert "Near names: base" in refusal("misspelt")


def test_findings_say_what_is_planted(answer):
    found = answer("findings")
    assert found["run"] == "base"
    assert any(POOR in finding["rows"] for finding in found["findings"])
    assert {finding["severity"] for finding in answer("severe")["findings"]} <= {"high"}
    ranks = ("high", "medium", "note")
    order = [ranks.index(finding["severity"]) for finding in found["findings"]]
    assert order == sorted(order)


def test_a_run_and_a_model_are_inspected(answer, stored):
    run = answer("inspect")
    assert [row["param_name"] for row in run["tensors"]] == [
        f"model.layers.{layer}.mlp.up_proj.weight" for layer in range(4)
    ]
    assert run["left_out"] > 0
    model = answer("model")
    assert model["facts"]["parameters"] == sum(a.size for a in stored.arrays.values())
    shapes = {row["name"]: row["shape"] for row in model["tensors"]}
    assert len(shapes) + model["left_out"] == len(stored.arrays)
    assert all(shapes[name] == list(stored.arrays[name].shape) for name in shapes)


def test_a_column_is_explained_in_english(answer, refusal):
    explanations = answer("explain")["explanations"]
    assert {each["name"] for each in explanations} == {"alpha"}
    assert all(each["plain"].isascii() for each in explanations)
    assert "alpha" in refusal("unknown")


def test_runs_are_compared(answer):
    compared = answer("compared")
    assert {run["label"] for run in compared["runs"]} == {"base", "tuned"}
    assert all(run["values"]["stable_rank"] > 1 for run in compared["runs"])
    assert compared["profiles"] == []
    everything = answer("all")
    assert len(everything["runs"]) == 3  # the comparison is none of them
    assert everything["profiles"]
    assert everything["facts"]["differences"]


def test_rows_are_kept_while_there_is_room():
    row = {"x": "a" * 1000}
    kept, left_out = bounded([row] * 100)
    assert len(kept) + left_out == 100
    assert len(json.dumps(kept)) <= MOST_CHARACTERS
    assert bounded([], 5) == ([], 0)
    # One row is always there, cut.
    (only,), rest = bounded([{"x": "a" * 10**6, "y": list(range(10**5))}] * 2, 1)
    assert only["x"].endswith("a ... and 998000 characters more")
    assert only["y"][-1] == "... and 99936 more"
    assert rest == 1
    assert plain({"a": [math.inf, -math.inf, math.nan]}) == {"a": ["infinity", "-infinity", None]}


def test_without_the_package_there_is_one_clear_message():
    code = (
        "import sys; sys.modules['mcp'] = None; sys.argv[0] = 'mlx-probe';"
        "from mlx_probe.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "mcp"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "pip install 'mlx-probe[mcp]'" in done.stderr
