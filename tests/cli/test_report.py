"""`mlx-probe report`, by the installed command and in this process."""

import json

import pytest
from made_runs import matrix, store
from models import invoke, refuses
from tinymodel import run

import mlx_probe
from mlx_probe import AnalyzeConfig
from mlx_probe.runs.folder import DEFAULT_STEM


def test_a_page_beside_the_run(copied):
    result = run("report", copied)
    assert result.returncode == 0, result.stderr
    page = copied / "report.html"
    assert str(page) in result.stdout
    assert "MB)" in result.stdout
    text = page.read_text("utf-8")
    assert text.startswith("<!doctype html>")
    assert "model.embed_tokens.weight" in text
    assert not [path for path in copied.iterdir() if path.name.endswith(".tmp")]


@pytest.mark.parametrize("what", ["run_meta.json", f"{DEFAULT_STEM}.csv"])
def test_a_run_is_named_by_any_of_its_files(copied, what):
    assert invoke("report", copied / what).exit_code == 0
    assert (copied / "report.html").exists()


def test_a_run_with_a_name_of_its_own(tiny, tmp_path):
    config = AnalyzeConfig(backend="numpy", metrics="basic")
    analyzed = mlx_probe.analyze(tiny, out=tmp_path / "mine.csv", config=config)
    result = invoke("report", analyzed.folder)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "mine.report.html").exists()


def test_out_makes_folders_and_replaces(copied, tmp_path):
    target = tmp_path / "new" / "folder" / "page.htm"
    assert invoke("report", copied, "--out", target).exit_code == 0
    first = target.read_text("utf-8")
    assert invoke("report", copied, "--out", target).exit_code == 0
    assert target.read_text("utf-8") == first


def test_text_for_a_terminal(copied):
    result = invoke("report", copied, "--terminal", "--metric", "std", "--metric", "kurtosis")
    assert result.exit_code == 0, result.output
    assert result.stdout.index("std by layer") < result.stdout.index("kurtosis by layer")
    assert "outliers:" in result.stdout
    assert not (copied / "report.html").exists()


def test_numbers_for_programs_without_layers_and_with_many_kinds(tmp_path):
    outside = store(tmp_path / "a", [matrix(None, "w", stable_rank=2.0)])
    metric = json.loads(invoke("report", outside, "--terminal", "--json").stdout)["metrics"][0]
    assert [(point["layer"], point["value"]) for point in metric["points"]] == [(None, 2.0)]
    kinds = [matrix(0, f"kind_{i}", stable_rank=2.0) for i in range(40)]
    many = json.loads(invoke("report", store(tmp_path / "b", kinds), "--terminal", "--json").stdout)
    assert len(many["metrics"][0]["points"]) == 40


def test_text_for_a_terminal_without_block_characters(copied):
    result = run("report", copied, "--terminal", PYTHONIOENCODING="ascii")
    assert result.returncode == 0, result.stderr
    assert result.stdout.isascii()
    assert "stable_rank by layer" in result.stdout


def test_no_run(tmp_path):
    refuses(invoke("report", tmp_path / "nowhere"), "does not exist", "Check the path")
    refuses(invoke("report", tmp_path), "holds no run", "mlx-probe analyze")


def test_an_unfinished_run(copied):
    (copied / "run_meta.json").unlink()
    (copied / f"{DEFAULT_STEM}.0123456789ab.partial.jsonl").write_text("{}\n")
    refuses(invoke("report", copied), "is not finished", "resume")


def test_a_damaged_run(copied):
    for table in copied.glob("params.*"):
        table.write_bytes(table.read_bytes()[:-10])
    refuses(invoke("report", copied), "cannot read")


def test_a_page_that_cannot_be_written(copied, tmp_path):
    (tmp_path / "file").write_text("")
    target = tmp_path / "file" / "page.html"
    refuses(invoke("report", copied, "--out", target), "cannot write", "--out")
    folder = tmp_path / "folder.html"
    folder.mkdir()
    refuses(invoke("report", copied, "--out", folder), f"cannot write {folder}", "--out")


def test_a_table_is_never_overwritten(copied):
    table = copied / "params.csv"
    before = table.read_bytes()
    refuses(invoke("report", copied, "--out", table), "does not name a page", code=2)
    assert table.read_bytes() == before


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--metric", "std"), "--metric is for --terminal"),
        (("--terminal", "--out", "x.html"), "Leave one out"),
        (("--terminal", "--metric", "nonsense"), "nonsense"),
        (("--terminal", "--metric", "param_name"), "has no numbers"),
    ],
)
def test_options_that_make_no_sense(copied, options, says):
    refuses(invoke("report", copied, *options), says, code=2)


def test_two_runs_share_a_page(copied, whole):
    result = invoke("report", whole.folder, copied, "--out", copied / "both.html")
    assert result.exit_code == 0, result.output
    assert "A: " in (copied / "both.html").read_text("utf-8")
    result = invoke("report", copied, whole.folder)
    assert result.exit_code == 0, result.output
    assert len(list(copied.glob("report-and-*.html"))) == 1
    assert not (copied / "report.html").exists()


def test_more_runs_are_another_command(copied):
    refuses(invoke("report", *[copied] * 3), "3 are named", "compare-runs", code=2)
    refuses(invoke("report", copied, copied, "--terminal"), "shows one run", code=2)
