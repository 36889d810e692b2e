"""The page of an evaluation that asked questions."""

import json
from html.parser import HTMLParser

import pytest
from models import invoke, refuses

from mlx_probe.core.errors import ConfigError, ResultError
from mlx_probe.report.html.write import write_report
from mlx_probe.runs.answers import is_evaluation

MEASURED = {"value": 0.5, "interval": [0.1, 0.9], "count": 1, "items": 2, "method": "wilson"}
NONE = {"value": None, "interval": None, "count": 0, "items": 0, "method": "wilson"}
RESULT = {
    "model": "<b>model</b>", "task": "bfcl", "data": "data", "items": 2, "answered": 2,
    "cut_off": 0,
    "accuracy": MEASURED, "accuracy_without_faulty": NONE,
    "categories": [
        {"category": "irrelevance", "accuracy": MEASURED, "strict": MEASURED, "faulty": 1}
    ],
    "faulty": [{"id": "b", "reason": "contradicts itself"}],
    "errors": [], "settings": {"prompting": "tools", "system": "", "max_tokens": 5},
    "device": "cpu", "dtype": None, "runs_by": None, "seconds": 1.0,
}  # fmt: skip


def item(name, error):
    return {
        "id": name, "category": "irrelevance", "question": "What <i>is</i> it?",
        "wanted": [{"f": {"a": ["早"]}}], "answer": "<script>x</script>" * 500,
        "values": {"accuracy": error is None}, "error": error, "detail": "why" if error else "",
    }  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    write(tmp_path, [item("a", None), item("b", "wrong_value")])
    return tmp_path


def write(folder, items, result=RESULT):
    (folder / "results.json").write_text(json.dumps(result))
    (folder / "items.jsonl").write_text("".join(json.dumps(each) + "\n" for each in items))


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.text = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in ("meta",):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_the_page(folder):
    assert is_evaluation(folder)
    target = write_report(folder)
    assert target == folder / "report.html"
    page = Page(target.read_text("utf-8"))
    assert page.open == []
    assert not {"script", "i", "b", "img"} & set(page.tags)
    text = " ".join(page.text)
    for words in ("<b>model</b>", "wrong_value: 1", "What <i>is</i> it?", "0.500", "not measured",
                  "contradicts itself", '[{"f": {"a": ["早"]}}]', "max_tokens"):  # fmt: skip
        assert words in text
    # Long answers are cut.
    assert text.count("<script>") < 300


def test_nothing_went_wrong(folder):
    write(folder, [item("a", None)], {**RESULT, "faulty": []})
    text = write_report(folder, folder / "other.html").read_text("utf-8")
    assert "every answer is right" in text
    assert 'id="faulty"' not in text


def test_more_than_are_shown(folder):
    write(folder, [item(f"x{n}", "wrong") for n in range(60)])
    assert "10 more" in write_report(folder).read_text("utf-8")


def test_the_command(folder):
    result = invoke("report", folder, "--json")
    document = json.loads(result.stdout)
    assert document["runs"] == [str(folder)]
    assert document["page"].endswith("report.html")
    refuses(invoke("report", folder, "--terminal"), "is an evaluation", code=2)
    chinese = invoke("report", folder, MLX_PROBE_LANG="zh")
    assert chinese.exit_code == 0
    assert "错在哪里" in (folder / "report.html").read_text("utf-8")


def test_what_is_refused(folder):
    with pytest.raises(ConfigError, match="one of them"):
        write_report(folder, other=folder)
    for damaged in ("{}\n", "no json\n", '{"id": 1, "values": 3}\n'):
        (folder / "items.jsonl").write_text(damaged)
        with pytest.raises(ResultError, match="is damaged"):
            write_report(folder)
    write(folder, [])
    (folder / "results.json").write_text("[]")
    with pytest.raises(ResultError, match="is damaged"):
        write_report(folder)
