"""The job: what holds goes into parts, what does not is counted and named."""

import gzip
import hashlib
import json
from itertools import chain

import pyarrow
import pytest
from models import invoke
from pyarrow import parquet
from tool_data import read_rows, tool, write_rows, write_xlam, xlam

from mlx_probe.core.errors import ConfigError, Interrupted, ResultError, SourceError, Stopped
from mlx_probe.lab.data.toolcalls.config import SYSTEM
from mlx_probe.lab.data.toolcalls.example import REASONS
from mlx_probe.runs.monitor.watch import WatchConfig


def parts_of(out):
    names = ("train", "valid", "test")
    return {n: read_rows(out / f"{n}.jsonl") for n in names if (out / f"{n}.jsonl").exists()}


def test_the_folder(prepare, tmp_path):
    source = write_xlam(tmp_path / "calls.jsonl", 40)
    meta = prepare(source)
    out = tmp_path / "out"
    parts = parts_of(out)
    assert {name: len(rows) for name, rows in parts.items()} == {"train": 32, "valid": 4, "test": 4}
    row = parts["train"][0]
    assert list(row) == ["id", "messages", "tools", "source"]
    assert [message["role"] for message in row["messages"]] == ["system", "user", "assistant"]
    assert row["messages"][0]["content"] == SYSTEM
    function = row["tools"][0]["function"]
    assert function["parameters"]["required"] == ["city"]
    assert row["messages"][2]["tool_calls"][0]["function"]["name"] == function["name"]
    assert read_rows(out / "rejected.jsonl") == []
    assert json.loads((out / "run_meta.json").read_text()) == meta
    assert meta["parts"]["train"] == {
        **{"examples": 32, "functions": 32, "without_parameters": 0, "calls": 32},
        **{"without_calls": 0, "several_calls": 0, "tokens": None},
    }
    for name, digest in meta["outputs"].items():
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == digest
    assert meta["files"][0]["sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    assert not (out / ".work").exists()


def test_no_function_is_in_two_parts(prepare, tmp_path):
    rows = [xlam(number, f"f{number % 23}") for number in range(200)]
    # The same name with another schema is another function; the wording makes no difference.
    other = [xlam(n, f"f{n % 23}") for n in range(200, 260)]
    for row in other:
        (described,) = json.loads(row["tools"])
        described["parameters"]["city"]["description"] = "Wording."
        described["parameters"]["unit"] = {"type": "str", "default": ""}
        row["tools"] = json.dumps([described])
    prepare(write_rows(tmp_path / "calls.jsonl", rows + other), valid=0.2, test=0.2)
    parts = parts_of(tmp_path / "out")
    keys = {
        name: {
            (f["name"], tuple(f["parameters"]["properties"]))
            for row in rows
            for f in (tool["function"] for tool in row["tools"])
        }
        for name, rows in parts.items()
    }
    assert len(keys) == 3
    assert sum(map(len, keys.values())) == 46


CITY = tool("weather", {"city": {"type": "string", "enum": ["Paris"]}}, ["city"])


def openai(arguments, described=CITY, name="weather", role="user"):
    call = {"type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
    messages = [{"role": role, "content": "?"}, {"role": "assistant", "tool_calls": [call]}]
    return {"messages": messages, "tools": [described]}


REJECTED = {
    "broken line": '{"messages": [',
    "other format": xlam(1),
    "no messages": openai({}, role="system"),
    "unknown role": openai({}, role="cat"),
    "no answer": {"messages": [{"role": "user", "content": "?"}], "tools": []},
    "broken tools": openai({}, described={"description": "no name"}),
    "malformed call": openai([1]),
    "unknown function": openai({}, name="other"),
    "missing argument": openai({}),
    "unknown argument": openai({"city": "Paris", "day": 1}),
    "wrong type": openai({"city": True}),
    "wrong value": openai({"city": "Rome"}),
    "broken schema": openai({"a": 1}, described=tool("weather", {"a": {"type": "whatever"}})),
    "duplicate": openai({"city": "Paris"}),
}


def test_what_does_not_hold_is_counted_and_listed(prepare, tmp_path):
    rows = [openai({"city": "Paris"}), *REJECTED.values(), "[1]", "\udcff"]
    path = tmp_path / "calls.jsonl"
    write_rows(path, rows[:-1])
    path.write_bytes(path.read_bytes() + b"\xff\xfe\n")
    meta = prepare(path)
    expected = {reason: int(reason in REJECTED) for reason in REASONS}
    assert meta["rejected"] == {**expected, "broken line": 3}
    listed = read_rows(tmp_path / "out" / "rejected.jsonl")
    assert [row["reason"] for row in listed[: len(REJECTED)]] == list(REJECTED)
    assert [row["row"] for row in listed] == list(range(1, len(rows)))
    assert all(row["text"] and row["file"] == "calls.jsonl" for row in listed)
    assert meta["rows"] == len(rows)


def test_tools_without_parameters_are_counted(prepare, tmp_path):
    now = {"name": "now", "description": "Time."}
    meta = prepare(write_rows(tmp_path / "a.jsonl", [openai({}, now, "now")]))
    assert meta["parts"]["train"]["without_parameters"] == 1


def test_own_prompts_stay(prepare, tmp_path):
    row = openai({"city": "Paris"})
    own = {**row, "messages": [{"role": "system", "content": "Own."}, *row["messages"]]}
    prepare(write_rows(tmp_path / "a.jsonl", [row, own]), system="Other.", valid=0, test=0)
    rows = read_rows(tmp_path / "out" / "train.jsonl")
    assert [row["messages"][0]["content"] for row in rows] == ["Other.", "Own."]
    prepare(tmp_path / "a.jsonl", system="", valid=0, test=0, overwrite=True)
    (row, _) = read_rows(tmp_path / "out" / "train.jsonl")
    assert row["messages"][0]["role"] == "user"


def test_the_form_of_the_file_makes_no_difference(prepare, tmp_path):
    rows = [xlam(number) for number in range(20)]
    folders = {name: tmp_path / name for name in ("array", "lines", "parquet", "gz", "json-lines")}
    for folder in folders.values():
        folder.mkdir()
    (folders["array"] / "calls.json").write_text(json.dumps(rows, indent=1))
    write_rows(folders["lines"] / "calls.jsonl", rows)
    write_rows(folders["json-lines"] / "calls.json", rows)
    with gzip.open(folders["gz"] / "calls.jsonl.gz", "wt") as file:
        file.writelines(f"{json.dumps(row)}\n" for row in rows)
    parquet.write_table(pyarrow.Table.from_pylist(rows), folders["parquet"] / "calls.parquet")
    written = set()
    for name, folder in folders.items():
        prepare(folder, out=tmp_path / f"out-{name}")
        parts = parts_of(tmp_path / f"out-{name}")
        written.add(json.dumps([row["messages"] for row in chain(*parts.values())]))
    assert len(written) == 1


def test_what_was_prepared_is_read_again(prepare, tmp_path):
    prepare(write_xlam(tmp_path / "calls.jsonl"), valid=0, test=0)
    prepare(tmp_path / "out" / "train.jsonl", out=tmp_path / "again", valid=0, test=0)
    one, two = (read_rows(tmp_path / name / "train.jsonl") for name in ("out", "again"))
    assert [{**row, "source": ""} for row in one] == [{**row, "source": ""} for row in two]


def test_rendered_and_counted(prepare, tmp_path, tiny):
    rows = [xlam(number) for number in range(10)] + [xlam(11, query="Weather? " * 16_000)]
    source = write_rows(tmp_path / "calls.jsonl", rows)
    meta = prepare(source, tokenizer=str(tiny.tokenizer), valid=0, test=0)
    tokens = meta["parts"]["train"]["tokens"]
    assert tokens["longest"] > 100_000
    assert tokens["p50"] < tokens["p95"] <= tokens["longest"] < tokens["total"]
    short = prepare(source, out=tmp_path / "short", tokenizer=str(tiny.tokenizer), max_tokens=2000)
    assert short["rejected"]["too long"] == 1
    (listed,) = read_rows(tmp_path / "short" / "rejected.jsonl")
    assert listed["text"] == f"it has {tokens['longest']} tokens"
    assert max(short["parts"][part]["tokens"]["longest"] for part in ("train", "test")) <= 2000


def test_a_template_that_does_not_take_an_example(prepare, tmp_path, tiny):
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    for path in tiny.tokenizer.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    picky = "{% if messages[1].content == 'Weather in 3?' %}{{ raise_exception('no') }}{% endif %}"
    (folder / "chat_template.jinja").write_text(picky + "{{ messages[1].content }}")
    meta = prepare(write_xlam(tmp_path / "calls.jsonl"), tokenizer=str(folder))
    assert meta["rejected"]["template"] == 1
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(ConfigError, match="no chat template\n  Give another --tokenizer"):
        prepare(tmp_path / "calls.jsonl", tokenizer=str(folder), overwrite=True)


def test_the_same_command_reads_what_is_there(prepare, tmp_path):
    source = write_xlam(tmp_path / "calls.jsonl")
    meta = prepare(source)
    before = (tmp_path / "out" / "train.jsonl").stat().st_mtime_ns
    assert prepare(source) == meta
    assert (tmp_path / "out" / "train.jsonl").stat().st_mtime_ns == before
    with pytest.raises(ResultError, match="other sources or settings"):
        prepare(source, seed=1)
    assert prepare(source, seed=1, overwrite=True)["split"]["seed"] == 1
    write_xlam(source, 21)
    with pytest.raises(ResultError, match="other sources or settings"):
        prepare(source, seed=1)
    (tmp_path / "out" / "mine.txt").touch()
    with pytest.raises(ResultError, match=r"files that are not examples: mine\.txt"):
        prepare(source, overwrite=True)


def test_interrupted(prepare, tmp_path):
    source = write_xlam(tmp_path / "calls.jsonl", 200)

    def interrupt(progress):
        if progress.done:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="is not finished\n  Run the same command again"):
        prepare(source, on_progress=interrupt)
    assert not (tmp_path / "out" / "run_meta.json").exists()
    meta = prepare(source)
    assert meta["parts"] == prepare(source, out=tmp_path / "undisturbed")["parts"]
    for name in meta["outputs"]:
        one, two = (tmp_path / folder / name for folder in ("out", "undisturbed"))
        assert one.read_bytes() == two.read_bytes()


def test_a_rule_stops_it(prepare, tmp_path):
    watch = WatchConfig(alert=("memory above 1B stop",), interval=0.05)

    def slowly(progress):
        import time

        time.sleep(0.5)

    with pytest.raises(Stopped):
        prepare(write_xlam(tmp_path / "calls.jsonl", 400), watch=watch, on_progress=slowly)
    assert not (tmp_path / "out" / "run_meta.json").exists()
    assert (tmp_path / "out" / "toolcalls.log").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", "", "no example holds: there are no rows"),
        ("a.jsonl", "nonsense\n", "no example holds: 1 broken line"),
        ("a.json", "[1 2]", "a.json is not JSON"),
        ("a.parquet", "PAR1", "is damaged, or no Parquet file"),
        ("a.jsonl.gz", "x", "is damaged"),
        ("a.tar", "x", "packed in a way that is not read here"),
    ],
)
def test_files_that_hold_nothing(prepare, tmp_path, name, content, message):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(SourceError, match=message):
        prepare(path)


@pytest.mark.parametrize(
    "settings",
    [{"valid": 0.5, "test": 0.5}, {"valid": -0.1}, {"max_tokens": 5}, {"format": "csv"}],
    ids=str,
)
def test_settings_that_make_no_data(prepare, tmp_path, settings):
    with pytest.raises(ConfigError, match=f"{list(settings)[-1]} cannot be"):
        prepare(tmp_path, **settings)


def test_the_command(tmp_path):
    source = write_rows(tmp_path / "calls.jsonl", [*(xlam(n) for n in range(20)), "broken"])
    done = invoke("data", "toolcalls", source, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "left out: broken lines: 1" in done.stdout
    assert done.stdout.splitlines()[2].split()[:2] == ["training", "16"]
    again = invoke("data", "toolcalls", source, "--out", tmp_path / "out", "--json")
    assert json.loads(again.stdout)["rejected"]["broken line"] == 1
    refused = invoke("data", "toolcalls", source, "--out", tmp_path / "o", "--format", "csv")
    assert refused.exit_code == 2
