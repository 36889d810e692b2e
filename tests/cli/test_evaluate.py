"""`mlx-probe evaluate`: text, JSON, a file, refusals."""

import json
import shutil

import pytest
from bfcl_folder import RIGHT, write_bfcl, write_lines, write_prepared
from models import invoke, refuses
from tiny_llm import TEXTS, make_model, make_tokenizer

from mlx_probe.cli.evaluate import evaluate
from mlx_probe.lab.evaluate import TASKS


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    root = tmp_path_factory.mktemp("evaluate")
    (root / "text.txt").write_text("\n\n".join(TEXTS * 3))
    return make_model(root / "model", make_tokenizer(root / "tokenizer")), root / "text.txt"


def test_a_document_and_a_text(places, tmp_path):
    model, text = places
    out = tmp_path / "new" / "result.json"
    result = invoke("evaluate", model, "--data", text, "--json", "--out", out)
    assert result.exit_code == 0, result.output
    whole = json.loads(result.stdout)
    assert json.loads(out.read_text()) == whole
    said = invoke("evaluate", model, "--data", text).stdout
    for name in ("val_loss", "perplexity", "bits_per_byte"):
        assert f"{whole[name]:.4f}" in said
    assert "windows of 48, stride 48" in said
    assert invoke("evaluate", model, "--data", text, "--quiet").output == ""


def test_what_is_refused(places, tmp_path):
    model, text = places
    refuses(invoke("evaluate", model, "--data", tmp_path / "nothing"), "nothing")
    refuses(invoke("evaluate", tmp_path, "--data", text), "no weights")
    result = invoke("evaluate", model, "--data", text, "--context", "64")
    refuses(result, "more than the 48", code=2)


def test_answers_are_judged_and_compared(tmp_path):
    data = write_prepared(tmp_path / "data")
    right = '{"name": "weather", "arguments": {"city": "%s"}}'
    texts = {"a": right % "Paris", "b": "Hi.", "c#1": right % "Rome", "c#3": right % "Rome"}
    for name, wrong in (("before", {"a": "Rain.", "b": "<tool_call>"}), ("after", {})):
        rows = [{"id": key, "text": text} for key, text in {**texts, **wrong}.items()]
        answers = write_lines(tmp_path / f"{name}.jsonl", rows)
        command = ("evaluate", "--task", "function-calls", "--data", data)
        result = invoke(*command, "--predictions", answers, "--out", tmp_path / name)
        assert result.exit_code == 0, result.output
    assert "all together      0.750         [0.301, 0.954]  3/4" in result.stdout
    assert "run as wanted     not measured" in result.stdout
    assert "call_where_none_fits  1  c#3: weather" in result.stdout
    said = invoke("evaluate", "--compare", tmp_path / "before", tmp_path / "after").stdout
    assert "0.250 → 0.750" in said
    assert "p 0.5" in said
    assert "became right: 2; became wrong: 0" in said


def test_bfcl_says_what_is_faulty(tmp_path):
    rows = [{"id": key, "text": text} for key, text in RIGHT.items()][:4]
    answers = write_lines(tmp_path / "answers.jsonl", rows)
    data = write_bfcl(tmp_path / "data")
    result = invoke("evaluate", "--task", "bfcl", "--data", data, "--predictions", answers)
    assert "irrelevance, broken calls are wrong" in result.stdout
    assert "faulty items, as their own data show: 1" in result.stdout
    assert "questions without an answer, which count as wrong: 3" in result.stdout
    chosen = ("--category", "irrelevance", "--items", "0", "--quiet")
    result = invoke("evaluate", "--task", "bfcl", "--data", data, "--predictions", answers, *chosen)
    assert result.output == ""


def test_a_model_answers(places, tmp_path):
    """A model without a chat template cannot; one with a template goes on where it stopped."""
    model, _ = places
    data = write_prepared(tmp_path / "data")
    command = ("evaluate", "--task", "function-calls", "--data", data, "--max-tokens", 3)
    shutil.copytree(model, tmp_path / "chat")
    template = tmp_path / "chat" / "chat_template.jinja"
    template.unlink()
    refuses(invoke(*command, tmp_path / "chat"), "question a", "no chat template", code=2)
    template.write_text("{% for m in messages %}{{ m['content'][:9] }}{% endfor %}")
    command = (*command, "--system", "", "--json")
    first = invoke(*command, tmp_path / "chat", "--out", tmp_path / "out", "--items", "0-1")
    assert first.exit_code == 0, first.output
    second = json.loads(invoke(*command, tmp_path / "chat", "--out", tmp_path / "out").stdout)
    assert (second["items"], second["answered"], second["cut_off"]) == (4, 4, 4)
    lines = (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["a", "b", "c#1", "c#3"]
    assert all(json.loads(line)["tokens"] <= 3 for line in lines)
    refuses(
        invoke(*command, tmp_path / "chat", "--out", tmp_path / "out", "--temperature", "1"),
        "other settings: temperature",
        code=2,
    )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("", "MODEL is missing"),
        ("x", "--data is missing"),
        ("x --task function-calls", "--data is missing"),
        ("x --predictions y", "takes the place of MODEL"),
        ("--predictions y", "needs --task"),
        ("x --task bfcl --system @nothing", "cannot read nothing"),
        ("--task bfcl --predictions nothing --category nonsense", "unknown category"),
    ],
)
def test_what_does_not_fit(words, says):
    refuses(invoke("evaluate", *words.split()), says, code=2)


def test_the_choices_are_the_tasks():
    (task,) = (option for option in evaluate.params if option.name == "task")
    assert tuple(task.type.choices) == tuple(TASKS)
