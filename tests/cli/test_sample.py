"""`--sample` on the command line: refused early, stated everywhere, resumed."""

import json

import browser
import numpy as np
import pytest
from models import invoke, refuses
from project import CONFIGS
from sampled_models import model

import mlx_probe
from mlx_probe.report.html.write import write_report

SAMPLE = "layers=every:4|experts=2"
# 3 tensors outside the layers; 8 of the dense layer 0, 15 of each of layers 4 and 6.
MEASURED, ROWS = 41, 173
LINE = f"{SAMPLE} with seed 0: {MEASURED} of {ROWS} rows and 45.4 kB of 177.0 kB are measured"
LAYERS = "3 of 7 layers (0, 4, 6), 2 of 6 experts of each"


@pytest.fixture(scope="module")
def mixture(tmp_path_factory):
    return model(tmp_path_factory.mktemp("models") / "mixture", np.random.default_rng(0))


@pytest.fixture(scope="module")
def run(mixture, tmp_path_factory):
    """The folder of a run, and what the command printed."""
    out = tmp_path_factory.mktemp("runs") / "run"
    options = ("--metrics", "full", "--backend", "numpy", "--out", out)
    result = invoke("analyze", mixture, "--sample", SAMPLE, *options, COLUMNS="200")
    assert result.exit_code == 0, result.output
    return out, result


def test_a_sample_that_makes_no_sense_is_refused_before_a_model_is_fetched():
    for command in ("analyze", "plan"):
        result = invoke(command, "owner/there-is-no-such-model", "--sample", "layers=every:0")
        refuses(result, "'layers=every:0'", "--sample 'layers=every:4|experts=8'", code=2)


def test_the_summary_says_what_was_measured(run):
    _, result = run
    assert f"; {MEASURED} weights" in result.stderr
    assert "mixture at local: medians of a sample" in result.stdout
    assert f"({MEASURED} ok, {ROWS - MEASURED} unsampled)" in result.stdout
    assert f"sample: {LINE}; {LAYERS}" in result.stdout
    assert "Nothing unusual in the sample" in result.stdout
    (gate,) = (line for line in result.stdout.splitlines() if line.startswith(" gate_proj"))
    assert gate.split()[1] == "7/43"


def test_values_of_a_column_are_those_of_the_sample(run):
    result = invoke("explain", "stable_rank", "--run", run[0], "--json")
    assert result.exit_code == 0, result.output
    positions = [each["run"] for each in json.loads(result.stdout) if each["run"]]
    assert len(positions) == 2
    assert all(place["of_sample"] for place in positions)
    (params,) = (place for place in positions if place["table"] == "params")
    assert params["count"] == MEASURED - 4  # but for the norms


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (("inspect",), (f"{LINE}; {LAYERS}", "unsampled")),
        (("report", "--terminal"), (f"{LINE}; {LAYERS}", "of the sample: rank ")),
        (("report", "--terminal"), ("Tensors are compared within the sample.",)),
        (("findings",), ("Nothing unusual in the sample",)),
        (("validate",), (f"{MEASURED} of {ROWS} rows measured", "none failed")),
    ],
)
def test_every_view_of_the_run_says_so(run, command, says):
    name, *options = command
    result = invoke(name, run[0], *options, COLUMNS="300")
    assert result.exit_code == 0, result.output
    for text in says:
        assert text in result.stdout


def test_a_query_finds_sampled_runs(run):
    statement = "select sample, rows_unsampled from runs"
    result = invoke("query", statement, "--runs", run[0], "--json")
    assert result.exit_code == 0, result.output
    assert SAMPLE in result.stdout
    assert str(ROWS - MEASURED) in result.stdout


def test_runs_of_different_samples_are_marked(run, mixture, tmp_path):
    mlx_probe.analyze(mixture, out=tmp_path / "whole", backend="numpy")
    table = mlx_probe.compare_runs([run[0], tmp_path / "whole"])
    (sample,) = (each for each in table.differences if each.setting == "sample")
    assert {value for value, _ in sample.values} == {f"{SAMPLE} with seed 0", "everything"}
    # Headers say the number of parameters.
    assert "stable_rank" in sample.metrics
    assert "parameters" not in sample.metrics


def test_the_plan_is_that_of_the_sample(mixture, run):
    plans = {}
    for sample in ("", SAMPLE):
        result = invoke("plan", mixture, "--sample", sample, "--metrics", "full", "--json")
        assert result.exit_code == 0, result.output
        plans[sample] = json.loads(result.stdout)
    meta = json.loads((run[0] / "run_meta.json").read_text("utf-8"))
    part, whole = plans[SAMPLE], plans[""]
    assert part["sample"] == meta["sample"]
    assert whole["sample"] is None
    assert (part["weights"], whole["weights"]) == (MEASURED, ROWS)
    assert part["read_bytes"] == meta["sample"]["bytes"]["measured"]
    assert part["model"]["parameters"] == whole["model"]["parameters"]
    assert part["memory"]["in_flight"] <= whole["memory"]["in_flight"]
    for stage in ("gram", "solve"):
        assert part["stages"][stage]["flops"] < whole["stages"][stage]["flops"] / 2


def test_the_configuration_that_comes_along_is_valid(mixture, tmp_path):
    options = ("--config", CONFIGS / "mixture-preview.yaml", "--out", tmp_path / "out")
    result = invoke("analyze", mixture, *options)
    assert result.exit_code == 0, result.output
    meta = json.loads((tmp_path / "out" / "run_meta.json").read_text("utf-8"))
    # There are six experts, so that all of them are measured.
    assert meta["sample"]["stacks"][0]["layers"] == [0, 4, 6]
    assert meta["sample"]["stacks"][0]["experts"] == {"measured": 6, "of": 6}


def test_a_run_without_the_sample_is_another_run(run, mixture):
    result = invoke("analyze", mixture, "--metrics", "full", "--backend", "numpy", "--out", run[0])
    refuses(result, "sample")


@pytest.mark.slow
@pytest.mark.skipif(browser.PATH is None, reason="no Chromium on the PATH")
def test_the_page_marks_what_was_not_measured(run, tmp_path):
    page = write_report(run[0], out=tmp_path / "page.html")
    with browser.Browser(tmp_path / "profile") as opened:
        opened.open(page)
        assert LINE in opened.value("document.querySelector('header').innerText")
        plot = "document.querySelector('#maps .plot')"
        assert "not measured" in opened.value(f"{plot}.layout.annotations[0].text")
        # Layers 1, 2, 3 and 5: attention, experts, and the router that layer 0 lacks.
        (path,) = opened.value(f"{plot}.layout.shapes.map((shape) => shape.path)")
        assert path.count("M") == 4 * 8
        hover = opened.value(f"{plot}.data[0].text.flat().join(' ')")
        assert "3 of 7 are measured" in hover
        for side in ("heads", "experts"):
            assert LINE in opened.value(f"document.getElementById('{side}').innerText")
        assert opened.value("document.querySelectorAll('#outliers tbody tr').length") < 10
        heads = opened.value("document.querySelector('#table thead').innerText")
        assert heads.index("Status") < heads.index("Shape")
        assert opened.messages == []
