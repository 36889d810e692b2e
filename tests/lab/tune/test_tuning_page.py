"""The page of a tuning: what it did to the weights and to the answers, against the files."""

import json
import shutil

import browser
import jsonschema
import numpy as np
import pytest
from bfcl_folder import call, write_lines, write_prepared
from html_pages import Page, numbers, texts
from models import invoke, refuses
from pyarrow import parquet
from tuning import recipe

import mlx_probe
from mlx_probe.cli.schemas import schema_of
from mlx_probe.core.errors import ConfigError
from mlx_probe.lab.evaluate.comparison import compare_results
from mlx_probe.lab.evaluate.evaluate import evaluate
from mlx_probe.lab.tune.tune import tune
from mlx_probe.report.training_data import load_training_data

# What was answered before and after: a becomes right, c#1 becomes wrong, c#3 stays right.
BEFORE = {"a": "<b>Rain</b>.", "b": "Hi.", "c#1": call("weather", city="Rome"), "c#3": "Sunny."}
AFTER = {**BEFORE, "a": call("weather", city="Paris"), "c#1": call("weather", city="Oslo")}


@pytest.fixture(scope="module")
def tuned(talker, talks, tmp_path_factory):
    folder = tmp_path_factory.mktemp("page") / "tuned"
    tune(recipe("compare=all", "steps=3"), talker, talks, folder, device="cpu")
    return folder


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """A folder with the results before and after."""
    folder = tmp_path_factory.mktemp("evaluated")
    for name, answers in (("before", BEFORE), ("after", AFTER)):
        judge(folder, name, answers)
    return folder


def judge(folder, name, answers, data=None):
    rows = [{"id": key, "text": text} for key, text in answers.items()]
    given = write_lines(folder / f"{name}.jsonl", rows)
    source = data or write_prepared(folder / "data")
    evaluate(None, source, "function-calls", out=folder / name, predictions=given)


@pytest.fixture(scope="module")
def comparison(evaluated):
    return compare_results(evaluated / "before", evaluated / "after")


@pytest.fixture(scope="module")
def rewarded(tuned, tmp_path_factory):
    """The same as a tuning by rewards has it: other numbers, and no loss."""
    folder = shutil.copytree(tuned, tmp_path_factory.mktemp("rewarded") / "run")
    lines = [{"step": 0, "tokens": 0, "val_reward": 0.125}]
    for step in (1, 2, 3):
        rewards = {"reward": step / 4, "reward_std": 0.1, "kl": step / 100, "answer_tokens": 9.5}
        lines.append({"step": step, "tokens": 10 * step, "learning_rate": 1e-3, **rewards})
    lines[-1]["val_reward"] = 0.75
    write_lines(folder / "metrics.jsonl", lines)
    # As names in order put layer 10 before layer 2.
    path = folder / "differences_over_time.parquet"
    rows = parquet.read_table(path)
    parquet.write_table(rows.take(list(range(len(rows)))[::-1]), path)
    return folder


@pytest.fixture(scope="module")
def page(tuned, comparison, tmp_path_factory):
    path = tmp_path_factory.mktemp("pages") / "page.html"
    return mlx_probe.write_report(tuned, path, comparison=comparison)


@pytest.fixture(scope="module")
def parsed(page):
    return Page(page.read_text("utf-8"))


def said(parsed):
    return " ".join(" ".join(parsed.text).split())


def test_what_it_did_to_the_weights(tuned, parsed):
    run = mlx_probe.load_training_run(tuned)
    assert run.is_tuning
    assert list(run.comparisons) == [1, 3]
    last = mlx_probe.load_run(run.comparisons[3])
    changed = last[last["status"] == "ok"].sort_values("relative_change", ascending=False)
    assert len(changed) == 14
    text = said(parsed)
    most = changed.iloc[0]
    assert f"{most['param_name']} {most['relative_change']:.4g} {most['cosine']:.6f} " in text
    for title in ("Rank of the change", "90 % energy rank of the change", "Intruders, output side"):
        assert title in text
    layer = last[last["layer_index"] == 0]
    moved = np.sqrt((layer["change_norm"] ** 2).sum() / (layer["norm"] ** 2).sum())
    assert f"0 {moved:.4g} 7 of {len(layer)}" in text
    # Every snapshot is in the maps; what is the same as in the base is not.
    described = parsed.run
    assert described["snapshots"] == [1, 3]
    assert described["tables"]["params"]["map"]["metrics"][0] == "relative_change"
    columns = {each["name"]: each for each in described["tables"]["params"]["columns"]}
    over_time = run.differences_over_time.query("status == 'ok'")
    assert list(numbers(columns["step"])) == list(over_time["step"])
    assert texts(columns["param_name"]) == list(over_time["param_name"])
    np.testing.assert_array_equal(
        numbers(columns["relative_change"]), over_time["relative_change"].to_numpy(float)
    )
    assert columns["delta_energy_rank_90"]["title"] == "90 % energy rank of the change"


def test_what_it_did_to_the_answers(parsed, evaluated):
    text = said(parsed)
    assert "4 questions of function-calls" in text
    assert "1 became right, 1 became wrong" in text
    # Value, interval and items before and after, then the difference with its interval and p.
    results = [
        json.loads((evaluated / n / "results.json").read_text()) for n in ("before", "after")
    ]
    ends = [
        f"{of['value']:.3f} [{of['interval'][0]:.3f}, {of['interval'][1]:.3f}] 3/4"
        for of in (result["metrics"]["all_together"] for result in results)
    ]
    assert f"all together {ends[0]} {ends[1]} +0.000 [" in text
    assert "] 1 " in text[text.index("all together") : text.index("Each value has")]
    # Both answers and what was wrong with the wrong one.
    right = text[text.index("Became right: 1") : text.index("Became wrong: 1")]
    for words in ("Weather in Paris?", "<b>Rain</b>.", '"city": "Paris"', "no_call"):
        assert words in right
    wrong = text[text.index("Became wrong: 1") : text.index("What went wrong")]
    for words in (
        "Weather in Rome?",
        '"city": "Oslo"',
        "wrong_value: weather: city is 'Oslo', not 'Rome'",
    ):
        assert words in wrong
    assert "no_call 1 0 wrong_value 0 1" in text
    assert "b" not in {tag for tag, _ in parsed.elements}


def test_without_evaluations_it_says_how(tuned, talker, tmp_path):
    page = Page(mlx_probe.write_report(tuned, tmp_path / "page.html").read_text("utf-8"))
    text = said(page)
    assert text.count("How much better it got") == 1
    assert f"mlx-probe evaluate {talker} --task" in text
    assert f"mlx-probe report {tuned} --before before --after after" in text
    assert 'href="#evaluation"' not in (tmp_path / "page.html").read_text("utf-8")


def test_without_comparisons_it_says_how(tuned, tmp_path):
    folder = shutil.copytree(tuned, tmp_path / "run")
    (folder / "differences_over_time.parquet").unlink()
    shutil.rmtree(folder / "snapshots" / "step-1" / "difference")
    # One that is there counts without the table of all of them.
    assert load_training_data([folder])[0].steps == [3]
    shutil.rmtree(folder / "snapshots" / "step-3" / "difference")
    text = said(Page(mlx_probe.write_report(folder).read_text("utf-8")))
    assert "No snapshot is compared with the base" in text
    assert "--out" in text[text.index("mlx-probe compare") :]


def test_rewards(rewarded):
    page = Page(mlx_probe.write_report(rewarded).read_text("utf-8"))
    curves = page.run["curves"]
    assert list(numbers(curves["curves"]["reward"]["mean"])) == [0.25, 0.5, 0.75]
    assert list(numbers(curves["curves"]["kl"]["mean"])) == pytest.approx([0.01, 0.02, 0.03])
    assert list(numbers(curves["evaluations"]["val_reward"])) == [0.125, 0.75]
    assert "Mean reward of held-out prompts: 0.1250 before training, 0.7500" in said(page)
    shown = page.run["tables"]["evaluations"]["shown"]
    assert {"val_reward", "reward", "answer_tokens"} <= {*shown}
    printed = invoke("report", rewarded, "--terminal", COLUMNS="100").stdout
    assert "0.1250 → 0.7500" in printed
    assert "reward_std" in printed


def test_the_terminal_and_its_document(tuned, evaluated):
    given = ("--before", evaluated / "before", "--after", evaluated / "after")
    result = invoke("report", tuned, "--terminal", *given, COLUMNS="100")
    assert result.exit_code == 0, result.output
    for words in ("differences from the base after step 3", "largest changed layers", "lora",
                  "became right: 1; became wrong: 1", "relative_change by snapshot"):  # fmt: skip
        assert words in result.stdout
    document = json.loads(invoke("report", tuned, "--terminal", "--json", *given).stdout)
    jsonschema.validate(document, schema_of("report"))
    (run,) = document["runs"]
    assert (run["kind"], run["snapshots"], run["difference"]["step"]) == ("tune", [1, 3], 3)
    assert {layer["layer"] for layer in run["difference"]["layers"]} == {0, 1}
    assert document["evaluation"]["became_right"] == ["a"]
    assert {point["step"] for point in run["metrics"][0]["points"]} == {1, 3}
    alone = json.loads(invoke("report", tuned, "--terminal", "--json").stdout)
    assert alone["evaluation"] is None


def test_what_is_refused(tuned, evaluated, tmp_path):
    before, after = evaluated / "before", evaluated / "after"
    refuses(invoke("report", tuned, "--before", before), "belong together", code=2)
    two = invoke("report", tuned, tuned, "--before", before, "--after", after)
    refuses(two, "one run of tune or train", code=2)
    measured = tuned / "snapshots" / "step-3" / "difference"
    other = invoke("report", measured, "--before", before, "--after", after)
    refuses(other, "one run of tune or train", code=2)
    # The same names, and something else behind them.
    lines = (evaluated / "data" / "test.jsonl").read_text().replace("Paris", "Bonn")
    (tmp_path / "test.jsonl").write_text(lines)
    judge(tmp_path, "others", AFTER, tmp_path / "test.jsonl")
    result = invoke("report", tuned, "--before", before, "--after", tmp_path / "others")
    refuses(result, "differ in what a asks or wants", "the same data", code=2)
    # Fewer questions.
    (tmp_path / "test.jsonl").write_text(lines.replace("Bonn", "Paris").split("\n")[0] + "\n")
    judge(tmp_path, "fewer", {"a": "no"}, tmp_path / "test.jsonl")
    result = invoke("report", tuned, "--before", before, "--after", tmp_path / "fewer")
    refuses(result, "has 3 questions that the other result lacks, such as b", code=2)
    with pytest.raises(ConfigError, match="3 questions"):
        mlx_probe.write_report(tuned, comparison=compare_results(tmp_path / "fewer", after))
    assert not (tuned / "report.html").exists()


def test_it_is_in_the_reader_s_language(tuned, evaluated, tmp_path):
    given = ("--before", evaluated / "before", "--after", evaluated / "after")
    page = tmp_path / "page.html"
    result = invoke("report", tuned, "--out", page, *given, MLX_PROBE_LANG="zh")
    assert result.exit_code == 0, result.output
    text = said(Page(page.read_text("utf-8")))
    for words in ("对权重做了什么", "前后的评估", "变化的秩"):
        assert words in text
    for words in ("What it did", "before and after", "Became right"):
        assert words not in text


@pytest.mark.slow
@pytest.mark.skipif(browser.PATH is None, reason="no Chromium on the PATH")
def test_in_a_browser(rewarded, comparison, tmp_path):
    page = mlx_probe.write_report(rewarded, tmp_path / "page.html", comparison=comparison)
    with browser.Browser(tmp_path / "profile") as opened:
        opened.open(page)
        drawn = "document.querySelector('#curve-reward').data.map((line) => line.y)"
        assert opened.value(drawn) == [[0.25, 0.5, 0.75], [0.125, 0.75]]
        assert opened.value("document.querySelector('#curve-kl .svg-container') !== null")
        assert opened.value("document.getElementById('curve-loss')") is None
        plot = "document.querySelector('#maps .plot')"
        assert opened.value(f"{plot}.data[0].z.flat().filter(Number.isFinite).length") > 1
        labels = "[...document.querySelectorAll('#maps .ytick text')].map((t) => t.textContent)"
        assert opened.value(labels) == ["layer 0", "layer 1"]
        # No spectrum to show: a click does nothing, and breaks nothing.
        opened.value(f"{plot}.emit('plotly_click', {{points: [{{customdata: 0}}]}})")
        opened.value("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        for width in (390, 1400):
            opened.resize(width, 1000)
            assert opened.value("document.documentElement.scrollWidth") <= width
        assert opened.messages == []
