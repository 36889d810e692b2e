"""BFCL's questions joined with their possible answers."""

import json

import pytest
from tool_data import read_rows

from mlx_probe.core.errors import ConfigError, SourceError


def function(properties, required=()):
    parameters = {"type": "dict", "properties": properties, "required": list(required)}
    return {"name": "f", "description": "Does it.", "parameters": parameters}


def question(name, described):
    turn = [[{"role": "user", "content": f"Do {name}."}]]
    return {"id": name, "question": turn, "function": [described]}


# What is allowed, and what the example has then.
ANSWERS = {
    "the first of several": ({"a": {"type": "integer"}}, [], {"a": [2, 3]}, {"a": 2}),
    "left out": ({"a": {"type": "string"}}, [], {"a": ["", "x"]}, {}),
    "not left out": ({"a": {"type": "string"}}, [], {"a": ["x", ""]}, {"a": "x"}),
    "required": ({"a": {"type": "string"}}, ["a"], {"a": ["", "x"]}, {"a": "x"}),
    "required and empty": ({"a": {"type": "string"}}, ["a"], {"a": [""]}, {"a": ""}),
    "a list": ({"a": {"type": "array", "items": {"type": "float"}}}, [], {"a": [[1, 2]]}, None),
    "an object": (
        {"a": {"type": "dict", "properties": {"b": {"type": "float"}, "c": {"type": "any"}}}},
        [],
        {"a": [{"b": [1.5, 2], "c": ["", 1]}]},
        {"a": {"b": 1.5}},
    ),
    "objects in a list": (
        {"a": {"type": "array", "items": {"type": "dict", "properties": {}}}},
        [],
        {"a": [[{"b": ["x", "y"]}, {"b": ["z"]}]]},
        {"a": [{"b": "x"}, {"b": "z"}]},
    ),
}


@pytest.fixture
def bfcl(tmp_path):
    """BFCL's folder, with one question for each of `ANSWERS`."""
    folder = tmp_path / "bfcl_eval" / "data"
    (folder / "possible_answer").mkdir(parents=True)
    questions, answers = [], []
    for number, (properties, required, allowed, _) in enumerate(ANSWERS.values()):
        name = f"simple_python_{number}"
        questions.append(question(name, function(properties, required)))
        answers.append({"id": name, "ground_truth": [{"f": allowed}]})
    write(folder / "BFCL_v4_simple_python.json", questions)
    write(folder / "possible_answer" / "BFCL_v4_simple_python.json", answers)
    none = question("irrelevance_0", function({}))
    write(folder / "BFCL_v4_irrelevance.json", [none])
    relevant = question("live_relevance_0-0-0", function({}))
    write(folder / "BFCL_v4_live_relevance.json", [relevant])
    write(folder / "BFCL_v4_memory.json", [{"id": "memory_0", "question": [[]], "scenario": ""}])
    return folder


def write(path, rows):
    path.write_text("\n".join(map(json.dumps, rows)), "utf-8")


def arguments(out):
    parts = [read_rows(path) for path in sorted(out.glob("t*.jsonl"))]
    return {
        row["id"]: row["messages"][-1]["tool_calls"][0]["function"]["arguments"]
        for rows in parts
        for row in rows
    }


def test_the_first_allowed_value_is_taken(prepare, bfcl, tmp_path):
    meta = prepare(bfcl, items=("simple_python",), test=0, valid=0)
    assert sum(meta["rejected"].values()) == 0
    found = arguments(tmp_path / "out")
    for number, (_, _, allowed, chosen) in enumerate(ANSWERS.values()):
        wanted = {"a": allowed["a"][0]} if chosen is None else chosen
        assert found[f"simple_python_{number}"] == wanted
    (row, *_) = read_rows(tmp_path / "out" / "train.jsonl")
    assert row["tools"][0]["function"]["parameters"]["type"] == "object"


def test_a_file_alone_finds_its_answers(prepare, bfcl, tmp_path):
    prepare(bfcl / "BFCL_v4_simple_python.json", test=0, valid=0)
    assert len(arguments(tmp_path / "out")) == len(ANSWERS)


def test_items_by_number(prepare, bfcl, tmp_path):
    prepare(bfcl, items=("simple_python:1-2,5", "BFCL_v4_simple_python.json:7-"), test=0, valid=0)
    assert set(arguments(tmp_path / "out")) == {f"simple_python_{n}" for n in (1, 2, 5, 7)}


def test_irrelevance_needs_an_answer(prepare, bfcl, tmp_path):
    items = ("irrelevance", "live_relevance")
    with pytest.raises(SourceError, match="no example holds: 2 no answer"):
        prepare(bfcl, items=items)
    meta = prepare(bfcl, items=items, no_call="No function fits.", test=0, valid=0)
    assert meta["rejected"]["no answer"] == 1
    (row,) = read_rows(tmp_path / "out" / "train.jsonl")
    assert row["messages"][-1] == {"role": "assistant", "content": "No function fits."}


def test_a_category_of_another_form_is_refused(prepare, bfcl):
    with pytest.raises(SourceError, match=r"memory\.json: its rows have the keys id, quest"):
        prepare(bfcl)


@pytest.mark.parametrize("item", ["", ":3", "a:b", "a:3-2-1", "a:1,,2"])
def test_items_that_are_none(prepare, bfcl, item):
    with pytest.raises(ConfigError, match="items cannot be"):
        prepare(bfcl, items=(item,))


def test_items_that_are_not_there(prepare, bfcl):
    with pytest.raises(
        ConfigError, match="no file is called paralel\n  Choose among irrelevance, "
    ):
        prepare(bfcl, items=("paralel:1",))
