"""The page and the text of training runs: what is in them, against the files."""

import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from html_pages import numbers, texts
from models import invoke
from training_runs import LOST, SNAPSHOTS, STEPS, make_run, metric_lines, write_metrics

import mlx_probe
from mlx_probe.core.errors import ConfigError
from mlx_probe.core.language import VARIABLE
from mlx_probe.report.html.encoding import script_json
from mlx_probe.report.html.training_curves import encode_curves
from mlx_probe.report.html.training_page import training_html
from mlx_probe.report.html.training_payload import MOST_CELLS, thinned, training_payload
from mlx_probe.report.html.training_spectra import encode_training_spectra, ranks_within
from mlx_probe.report.training_data import load_training_data
from mlx_probe.report.training_series import envelope


@pytest.fixture(scope="module")
def data(training):
    return training


@pytest.fixture(scope="module")
def page(training_page):
    return training_page


@pytest.fixture(scope="module")
def pages(training_pages):
    return training_pages


@pytest.fixture(scope="module")
def other(other_training):
    return other_training


def payload_of(path):
    text = path.read_text("utf-8")
    return json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])


def test_the_payload_has_the_files_numbers(page, trained):
    (run,) = payload_of(page)["runs"]
    lines = metric_lines()
    curves = run["curves"]
    assert curves["each"] == 1
    assert list(numbers(curves["steps"]["step"])) == list(range(1, STEPS + 1))
    losses = [line["train_loss"] for line in lines[1:]]
    assert numbers(curves["curves"]["train_loss"]["mean"]) == pytest.approx(losses, rel=1e-6)
    bits = np.array(losses) / np.log(2) / 1.95
    assert numbers(curves["curves"]["train_bpb"]["mean"]) == pytest.approx(bits, rel=1e-6)
    evaluated = [line for line in lines if "val_bpb" in line]
    assert list(numbers(curves["evaluations"]["step"])) == [line["step"] for line in evaluated]
    assert list(numbers(curves["evaluations"]["val_bpb"])) == [one["val_bpb"] for one in evaluated]
    assert run["snapshots"] == list(SNAPSHOTS)
    frame = mlx_probe.load_training_run(trained).over_time
    columns = {column["name"]: column for column in run["tables"]["params"]["columns"]}
    assert texts(columns["param_name"]) == list(frame["param_name"])
    assert list(numbers(columns["step"])) == list(frame["step"])
    expected = frame["stable_rank"].to_numpy(float, na_value=np.nan)
    np.testing.assert_array_equal(numbers(columns["stable_rank"]), expected)
    at = next(i for i, row in frame.iterrows() if (row["step"], row["param_name"]) == (150, LOST))
    kept = mlx_probe.load_training_run(trained).spectra(150).set_index("param_name")
    own = run["spectra"]["of"][str(at)]
    assert numbers(own) == pytest.approx(kept["singular_values"][LOST], rel=1e-6)
    change = numbers(columns["spectral_change"])
    last = frame["step"] == STEPS
    assert set(change[last & frame["rows"].notna()]) == {0.0}


def test_every_sentence_and_sample_is_in_the_page(page):
    text = page.read_text("utf-8")
    assert "Layer 1 stopped changing after step 60." in text
    assert "Mirsky" in text
    assert "All 300 planned steps are done." in text
    assert "66,384 parameters" in text
    assert "&lt;/script&gt;&lt;script&gt;alert(1)&lt;/script&gt;\nto be" in text
    assert "\\x00\\x1b[31m" in text
    for forbidden in ("<script>alert", "\x00", "\x1b", "\u202e"):
        assert forbidden not in text
    assert "default-src 'none'" in text


def test_a_run_of_names_and_settings_that_are_hostile(trained, tmp_path):
    folder = tmp_path / "<img src=x onerror=alert(1)>"
    shutil.copytree(trained, folder)
    meta = json.loads((folder / "run_meta.json").read_text())
    meta |= {"recipe": {"train": {"<b>": "</script><b>"}}, "device": "</dd><script>alert(2)"}
    (folder / "run_meta.json").write_text(json.dumps(meta))
    text = training_html(load_training_data([folder]))
    for forbidden in ("<img", "</script><b>", "<script>alert"):
        assert forbidden not in text
    two = training_html(load_training_data([folder, trained]))
    assert "<img" not in two


@pytest.mark.parametrize("finished", [True, False])
def test_a_run_without_anything_has_a_page(tmp_path, finished):
    folder = make_run(tmp_path / "run", snapshots=(), finished=finished)
    write_metrics(folder, metric_lines(last=0))
    (folder / "samples.jsonl").unlink()
    text = training_html(load_training_data([folder]))
    assert "No snapshot of the weights is measured" in text
    assert 'id="samples"' not in text
    if not finished:
        assert "Training ended after 0 of 300 steps" in text


def test_an_envelope_hides_no_jump():
    values = np.ones(10_001)
    values[4321] = 99
    values[77] = np.nan
    parts = envelope(values, 500)
    assert len(parts["mean"]) <= 500
    assert parts["high"].max() == 99
    assert parts["low"].min() == 1
    at = 4321 // 21
    assert parts["mean"][at] == pytest.approx((20 + 99) / 21)
    assert parts["high"].argmax() == at
    only = envelope(np.array([np.nan, np.nan, 5.0]), 2)
    np.testing.assert_array_equal(only["low"], [np.nan, 5.0])


def test_a_long_run_has_as_many_points_as_a_screen():
    steps = np.arange(1, 100_001)
    frame = pd.DataFrame({"step": steps, "tokens": 10.0 * steps, "seconds": steps / 7.0})
    frame["train_loss"] = 1 + 1 / steps
    frame["val_bpb"] = np.where(steps % 10 == 0, 2.0, np.nan)
    curves = encode_curves(frame)
    assert curves["each"] == 50
    places = numbers(curves["steps"]["step"])
    assert len(places) == 2000
    assert places[[0, -1]].tolist() == [50, 100_000]
    assert numbers(curves["curves"]["train_loss"]["high"])[0] == 2
    evaluated = numbers(curves["evaluations"]["step"])
    assert len(evaluated) <= 2000
    assert evaluated[[0, -1]].tolist() == [10, 100_000]
    assert len(script_json(curves)) < 200_000


def test_ranks_of_a_long_spectrum():
    assert list(ranks_within(30, 40)) == list(range(1, 31))
    ranks = ranks_within(5000, 100)
    assert len(ranks) <= 100
    assert ranks[[0, -1]].tolist() == [1, 5000]
    assert (np.diff(ranks) > 0).all()


def test_spectra_within_a_budget_are_of_all_snapshots(data):
    (run,) = data
    budget = len(SNAPSHOTS) * 150
    encoded = encode_training_spectra(run.run, run.frame, budget)
    values = sum(len(numbers(entry)) for entry in encoded["of"].values())
    assert 0 < values <= budget
    rows = run.frame.iloc[[int(row) for row in encoded["of"]]]
    assert set(rows.groupby("param_name")["step"].count()) == {len(SNAPSHOTS)}
    assert encoded["kept"] < encoded["total"]


def test_rows_within_a_budget_keep_the_ends(data):
    (run,) = data
    rows = len(run.frame) // len(SNAPSHOTS)
    kept = thinned(run.frame, 3 * rows * len(run.frame.columns))
    assert list(kept["step"].unique()) == [0, 10, 300] or len(kept["step"].unique()) == 3
    assert kept["step"].iloc[[0, -1]].tolist() == [0, 300]
    assert thinned(run.frame, MOST_CELLS) is run.frame


def test_the_page_of_two_has_what_differs(pages):
    text = pages.read_text("utf-8")
    assert "train.learning_rate" in text
    assert "train.optimizer" not in text[text.index('<section id="run"') : text.index("<footer")]
    runs = payload_of(pages)["runs"]
    assert [run["name"] for run in runs] == ["run", "second run"]
    a, b = (numbers(run["curves"]["curves"]["train_loss"]["mean"]) for run in runs)
    assert not np.array_equal(a, b)


def test_more_runs_than_a_page_can_tell_apart(data):
    with pytest.raises(ConfigError, match="at most, and 17 are named"):
        training_html(data * 17)


@pytest.mark.parametrize(("language", "words"), [("en", "Spectrum"), ("zh", "谱")])
def test_it_is_in_the_reader_s_language(data, monkeypatch, language, words):
    monkeypatch.setenv(VARIABLE, language)
    text = training_html(data)
    assert words in text
    assert "[[" not in text[: text.index("<script")]


def test_the_command(trained, other, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    result = invoke("report", folder)
    assert result.exit_code == 0, result.output
    assert (folder / "report.html").read_text("utf-8").startswith("<!doctype html>")
    assert mlx_probe.write_report(folder, other=[other]) == folder / "report-and-second-run.html"
    three = mlx_probe.write_report(folder, other=[other, trained])
    assert three.name == "report-and-2-others.html"
    result = invoke("report", folder, folder / "snapshots" / "step-10" / "analysis")
    assert result.exit_code == 2
    assert "is a training run, and" in result.stderr


def test_the_terminal(trained, other):
    result = invoke("report", trained, "--terminal", "--metric", "stable_rank", COLUMNS="100")
    assert result.exit_code == 0, result.output
    for text in ("train_loss", "val_bpb", "stopped changing after step 60", "q_proj", "To be, or"):
        assert text in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 100
    result = invoke("report", trained, other, "--terminal", COLUMNS="100")
    assert "train.learning_rate" in result.stdout
    assert "second run" in result.stdout
    result = invoke("report", trained, "--terminal", "--metric", "nonsense")
    assert result.exit_code == 2
    assert "'nonsense'" in result.stderr


def test_the_payload_of_many_runs_shares_the_room(trained):
    alone = len(script_json(training_payload(load_training_data([trained]))))
    many = len(script_json(training_payload(load_training_data([trained] * 3))))
    assert many < 3.5 * alone
