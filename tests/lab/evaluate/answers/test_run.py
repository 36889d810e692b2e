"""Tasks that ask questions: files of answers, resuming, results, comparisons."""

import json

import pytest
from bfcl_folder import PREPARED, RIGHT, write_bfcl, write_lines, write_prepared

from mlx_probe.core.errors import ConfigError, ResultError, SourceError
from mlx_probe.lab.evaluate import TASKS
from mlx_probe.lab.evaluate.answers import run
from mlx_probe.lab.evaluate.answers.config import AnswerConfig
from mlx_probe.lab.evaluate.answers.local import weights_fingerprint
from mlx_probe.lab.evaluate.answers.prediction import Prediction, read_predictions
from mlx_probe.lab.evaluate.comparison import compare_results
from mlx_probe.lab.evaluate.evaluate import evaluate


def answers(path, texts):
    return write_lines(path, [{"id": name, "text": text} for name, text in texts.items()])


def bfcl(tmp_path, texts=RIGHT, name="answers", **settings):
    return evaluate(
        None,
        write_bfcl(tmp_path / "bfcl"),
        "bfcl",
        AnswerConfig(**settings),
        out=tmp_path / name,
        predictions=answers(tmp_path / f"{name}.jsonl", texts),
    )


def test_bfcl(tmp_path):
    result = bfcl(tmp_path)
    found = {each["category"]: each for each in result["categories"]}
    assert {name: each["accuracy"]["count"] for name, each in found.items()} == {
        "simple_python": 1,
        "parallel": 1,
        "irrelevance": 3,
    }
    # Their way a broken call, and nothing at all, are no calls.
    assert found["irrelevance"]["strict"]["count"] == 1
    assert found["simple_python"]["strict"] is None
    assert result["accuracy"]["count"] == 5
    assert result["accuracy_without_faulty"]["items"] == 6
    (faulty,) = result["faulty"]
    assert faulty["id"] == "simple_python_1"
    assert "breaks its own schema" in faulty["reason"]
    errors = {group["error"]: group["items"] for group in result["errors"]}
    assert errors == {"irrelevance_error:decoder_success": 1, "value_error:others": 1}
    assert json.loads((tmp_path / "answers" / "results.json").read_text()) == result
    items = (tmp_path / "answers" / "items.jsonl").read_text().splitlines()
    assert [json.loads(item)["id"] for item in items] == list(RIGHT)


def test_bfcl_in_words(tmp_path):
    """The leaderboard's reader of Python calls, which JSON is not."""
    texts = dict.fromkeys(RIGHT, "no call") | {
        "simple_python_0": "<think>f(</think>[kitchen.boil(what='Eggs brown', minutes=7)]",
        "parallel_0": RIGHT["parallel_0"],
        "irrelevance_1": RIGHT["irrelevance_3"],
        "irrelevance_2": "",
        "irrelevance_3": "[kitchen.mix(parts=[])]",
    }
    result = bfcl(tmp_path, texts, prompting="words")
    found = {each["category"]: each for each in result["categories"]}
    assert found["simple_python"]["accuracy"]["count"] == 1
    assert found["parallel"]["accuracy"]["count"] == 0
    # JSON is no call to that reader; counted strictly it is.
    assert found["irrelevance"]["accuracy"]["count"] == 3
    assert found["irrelevance"]["strict"]["count"] == 1
    errors = {group["error"] for group in result["errors"]}
    assert "ast_decoder:decoder_failed" in errors


def test_a_part_of_the_questions(tmp_path):
    result = bfcl(tmp_path, categories=("irrelevance", "simple"), items="1-2")
    assert (result["items"], result["answered"]) == (3, 3)
    result = bfcl(tmp_path, texts={"irrelevance_0": "no"}, categories=("irrelevance",))
    assert (result["items"], result["answered"]) == (4, 1)
    assert result["accuracy"]["count"] == 1
    assert result["errors"][0]["error"] == "not_answered"


def test_function_calls(tmp_path):
    data = write_prepared(tmp_path / "data")
    texts = {
        "a": '{"name": "weather", "arguments": {"city": "Paris"}}',
        "b": "Hello.",
        "c#1": '{"name": "weather", "arguments": {"city": "rome"}}',
        "c#3": "Sunny.",
    }
    result = evaluate(
        None, data, "function-calls", predictions=answers(tmp_path / "texts.jsonl", texts)
    )
    values = {name: record["value"] for name, record in result["metrics"].items()}
    assert values == {
        "parse_rate": 1,
        "name_accuracy": 1,
        "parameter_f1": 0.5,
        "schema_rate": 1,
        "execution_rate": None,
        "all_together": 0.75,
    }
    assert result["metrics"]["parameter_f1"]["items"] == 2
    assert [each["category"] for each in result["categories"]] == ["one_call", "no_call"]
    assert result["errors"][0]["examples"] == [
        {"id": "c#1", "detail": "weather: city is 'rome', not 'Rome'"}
    ]


def test_calls_that_a_server_has_taken_out():
    made = {"function": {"name": "f", "arguments": '{"a": 1}'}, "id": "x", "type": "function"}
    answer = Prediction("q", "thinking", [made]).answer()
    assert answer.calls[0].arguments == {"a": 1}
    assert Prediction("q", "", [{**made, "function": {"name": "f", "arguments": "{"}}]).answer(
    ).malformed  # fmt: skip


class Model:
    """Answers the questions of prepared data, and breaks off when it is told to."""

    name, concurrency = "model", 1

    def __init__(self, concurrency=1, breaks=None):
        self.asked, self.concurrency, self.breaks = [], concurrency, breaks

    def identity(self):
        return {"model": self.name}

    def facts(self):
        return {"device": None, "dtype": None, "runs_by": None}

    def ask(self, question):
        if self.breaks is not None and len(self.asked) >= self.breaks:
            raise SourceError("broken off", "Try again")
        self.asked.append(question.id)
        return Prediction(question.id, "no call", question=question.fingerprint)


@pytest.mark.parametrize("concurrency", [1, 3])
def test_what_has_an_answer_is_not_asked_again(tmp_path, monkeypatch, concurrency):
    data = write_bfcl(tmp_path / "bfcl")
    out = tmp_path / "out"
    model = Model(concurrency, breaks=3)
    monkeypatch.setattr(run, "ServedModel", lambda address, config: model)
    with pytest.raises(SourceError, match="broken off"):
        evaluate("http://x", data, "bfcl", out=out)
    first = list(model.asked)
    assert 3 <= len(first) < 6
    # A kill tears the last line.
    lines = (out / "predictions.jsonl").read_text()
    (out / "predictions.jsonl").write_text(lines + '{"id": "parallel_0", "te')
    model.breaks = None
    result = evaluate("http://x", data, "bfcl", out=out)
    assert sorted(model.asked) == sorted(RIGHT)
    assert result["answered"] == len(RIGHT)
    assert sorted(read_predictions(out / "predictions.jsonl")) == sorted(RIGHT)
    # And once more: nothing to ask.
    again = evaluate("http://x", data, "bfcl", out=out)
    assert len(model.asked) == len(RIGHT)
    assert {**again, "seconds": 0} == {**result, "seconds": 0}
    # A question that has changed is asked again.
    path = data / "BFCL_v4_parallel.json"
    path.write_text(path.read_text().replace("Boil it.", "Boil them."))
    evaluate("http://x", data, "bfcl", out=out)
    assert model.asked[len(RIGHT) :] == ["parallel_0"]
    with pytest.raises(ConfigError, match="other settings: system"):
        evaluate("http://x", data, "bfcl", AnswerConfig(system="You are"), out=out)


def test_settings_without_an_answer_bind_nobody(tmp_path, monkeypatch):
    data, model = write_bfcl(tmp_path / "bfcl"), Model(breaks=0)
    monkeypatch.setattr(run, "ServedModel", lambda address, config: model)
    with pytest.raises(SourceError):
        evaluate("http://x", data, "bfcl", out=tmp_path / "out")
    model.breaks = None
    config = AnswerConfig(max_tokens=9)
    assert evaluate("http://x", data, "bfcl", config, out=tmp_path / "out")["answered"] == 7
    with pytest.raises(ConfigError, match="is a file"):
        evaluate("http://x", data, "bfcl", out=data / "BFCL_v4_parallel.json")


def test_another_adapter_is_another_model(tmp_path):
    folders = [tmp_path / "model", tmp_path / "adapter"]
    for folder in folders:
        write_lines(folder / "x.safetensors", [1])
    whole = weights_fingerprint(folders)
    assert whole == weights_fingerprint(folders)
    assert whole != weights_fingerprint(folders[:1])
    write_lines(folders[1] / "x.safetensors", [1, 2])
    assert whole != weights_fingerprint(folders)


def test_compare(tmp_path):
    bfcl(tmp_path, name="before", texts={**RIGHT, "simple_python_0": "no", "irrelevance_0": "no"})
    bfcl(tmp_path, name="after", texts={**RIGHT, "irrelevance_1": RIGHT["irrelevance_3"]})
    result = compare_results(tmp_path / "before", tmp_path / "after")
    assert result["items"] == len(RIGHT)
    accuracy = result["metrics"]["accuracy"]
    assert (accuracy["only_first"], accuracy["only_second"], accuracy["p"]) == (1, 1, 1.0)
    assert result["became_right"] == ["simple_python_0"]
    assert result["became_wrong"] == ["irrelevance_1"]
    assert accuracy["difference"] == 0
    with pytest.raises(ResultError, match="holds no results"):
        compare_results(tmp_path / "before", tmp_path)
    (tmp_path / "after" / "items.jsonl").write_text("{}\n")
    with pytest.raises(ResultError, match="is damaged"):
        compare_results(tmp_path / "before", tmp_path / "after")


def test_only_results_of_one_task_are_compared(tmp_path):
    bfcl(tmp_path, name="one")
    data = write_prepared(tmp_path / "data")
    texts = answers(tmp_path / "texts.jsonl", {"a": "no"})
    evaluate(None, data, "function-calls", out=tmp_path / "two", predictions=texts)
    with pytest.raises(ConfigError, match="one task"):
        compare_results(tmp_path / "one", tmp_path / "two")
    bfcl(tmp_path, name="three", categories=("parallel",))
    bfcl(tmp_path, name="four", categories=("irrelevance",))
    with pytest.raises(ConfigError, match="no item in common"):
        compare_results(tmp_path / "three", tmp_path / "four")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("nonsense", "line 1"),
        ("[1]", "no object"),
        ('{"text": "x"}', "id"),
        ('{"id": "a"}', "text"),
        ('{"id": "a", "text": 3}', "another type"),
        ('{"id": "other", "text": "x"}', "answers none of the questions"),
    ],
)
def test_answers_that_are_none(tmp_path, line, says):
    path = tmp_path / "answers.jsonl"
    path.write_text(line)
    with pytest.raises((ConfigError, ResultError), match=says):
        evaluate(None, write_bfcl(tmp_path / "bfcl"), "bfcl", predictions=path)


def test_data_that_are_none(tmp_path):
    path = answers(tmp_path / "answers.jsonl", RIGHT)
    data = write_bfcl(tmp_path / "bfcl")
    with pytest.raises(SourceError, match="live_simple"):
        evaluate(None, data, "bfcl", AnswerConfig(categories=("live_simple",)), predictions=path)
    with pytest.raises(ConfigError, match="Java"):
        evaluate(None, data, "bfcl", AnswerConfig(categories=("simple_java",)), predictions=path)
    with pytest.raises(ConfigError, match="no question"):
        evaluate(None, data, "bfcl", AnswerConfig(items="90-"), predictions=path)
    (data / "possible_answer" / "BFCL_v4_parallel.json").unlink()
    with pytest.raises(SourceError, match="accepted answers of parallel"):
        evaluate(None, data, "bfcl", predictions=path)
    with pytest.raises(ConfigError, match="no questions of its own"):
        evaluate(None, None, "function-calls", predictions=path)
    with pytest.raises(SourceError, match="cannot read"):
        evaluate(None, tmp_path, "function-calls", predictions=path)
    broken = {**PREPARED[0], "messages": 3}
    write_lines(tmp_path / "test.jsonl", [PREPARED[1], broken])
    with pytest.raises(SourceError, match="line 2"):
        evaluate(None, tmp_path, "function-calls", predictions=path)


@pytest.mark.parametrize(
    "settings",
    [
        {"split": "all"},
        {"items": "a-b"},
        {"items": "-1"},
        {"prompting": "json"},
        {"max_tokens": 0},
        {"temperature": float("nan")},
        {"concurrency": 0},
    ],
)
def test_settings_that_have_no_meaning(settings):
    with pytest.raises(ConfigError):
        AnswerConfig(**settings)


def test_every_task_has_a_title():
    assert all(task.title for task in TASKS.values())
