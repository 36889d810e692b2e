"""`mlx-probe compare-runs`, by the installed command, on a terminal and in this process."""

import json
import shutil
import subprocess
import sys

import pytest
from made_runs import CONFIGURATION, layers, matrix, store
from models import edit_meta, invoke, refuses
from rich.text import Text
from stores_on_disk import empty_home, folder_model
from terminal import Terminal
from tinymodel import COMMAND, run

from mlx_probe.report.terminal.wrapping import cells

HOSTILE = "o/\x1b[31m[bold]x"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    other = {**CONFIGURATION, "rank_tol": 1e-4}
    summary = {"parameters": 1_234_567_890}
    return [
        store(folder / "a", layers(4, seed=1, rank=6), "owner/a", summary=summary),
        store(folder / "b", layers(2, seed=2, rank=5), "owner/b", configuration=other),
        store(folder / "c", layers(9, seed=3, rank=4), HOSTILE),
    ]


def test_one_line_for_each_run(runs, tmp_path):
    result = run("compare-runs", *runs, tmp_path, "--sort", "stable_rank", "--metric", "rank")
    assert result.returncode == 0, result.stderr
    lines = [line.split() for line in result.stdout.splitlines() if line.strip()]
    assert lines[0] == ["run", "rank*", "stable_rank"]
    names = [line[0] for line in lines[2:] if line[0].startswith("o")][:3]
    assert sorted(names) == sorted(["owner/a", "owner/b", "o/\\x1b[31m[bold]x"])
    numbers = [float(line[-1]) for line in lines[2:] if line[0] in names][:3]
    assert numbers == sorted(numbers, reverse=True)
    assert "differs in rank_tol" in result.stdout
    assert "rank_tol  Ranks count singular values above different thresholds." in result.stdout
    assert f"{tmp_path} holds no run" in result.stdout
    assert "\x1b" not in result.stdout


def test_sizes_are_short_and_ratios_are_to_the_first(runs):
    result = invoke("compare-runs", *runs, "--metric", "parameters")
    assert "owner/a 1.235 B" in " ".join(result.stdout.split())
    result = invoke("compare-runs", *runs, "--metric", "rank", "--relative", "--ascending")
    text = " ".join(result.stdout.split())
    assert "owner/b 0.8333 differs in rank_tol owner/a 1 " in text
    assert "all numbers are divided by those of owner/a" in text


def test_profiles_have_one_scale_within_a_group(tmp_path):
    low = store(tmp_path / "low", [matrix(at, std=1.0 + at) for at in range(2)], "o/low")
    high = store(tmp_path / "high", [matrix(at, std=7.0 + at) for at in range(2)], "o/high")
    result = invoke("compare-runs", low, high, "--metric", "std", "--bins", "2", "--by", "all")
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["o/high", "▇█", "7", "8", "8"] in lines
    assert ["o/low", "▁▂", "1", "2", "2"] in lines
    plain = run("compare-runs", low, high, PYTHONIOENCODING="ascii")
    assert plain.stdout.isascii()


def test_metrics_without_room_follow_in_a_second_table(runs):
    result = invoke("compare-runs", *runs, "--metric", "all", "--by", "all", COLUMNS="60")
    lines = [line for line in result.stdout.splitlines() if line.strip()]
    assert max(map(cells, lines)) <= 60
    assert sum(line.startswith(" run ") for line in lines) > 2
    assert sum(line.startswith(" owner/a ") for line in lines) > 1


@pytest.mark.parametrize("language", ["en", "zh"])
def test_it_fits_a_terminal_of_80_columns(runs, monkeypatch, language):
    monkeypatch.setenv("MLX_PROBE_LANG", language)
    terminal = Terminal(80, 60, COMMAND, "compare-runs", *runs, "--by", "block_type")
    assert terminal.end() == 0
    lines = [Text.from_ansi(line).plain for line in terminal.text.replace("\r", "").split("\n")]
    assert max(map(cells, lines)) <= 80
    assert any("stable" in line for line in lines)
    assert any(("运行" if language == "zh" else "run") in line for line in lines)


def test_a_page_and_json_at_once(runs, tmp_path):
    page = tmp_path / "a.html"
    both = run("compare-runs", *runs, "--json", "--out", page)
    assert json.loads(both.stdout) == json.loads(run("compare-runs", *runs, "--json").stdout)
    assert str(page) in both.stderr
    assert page.exists()


def test_json_is_the_table(runs, monkeypatch):
    monkeypatch.setenv("MLX_PROBE_LANG", "zh")
    result = run("compare-runs", *runs, "--json", "--metric", "std", "--bins", "4")
    table = json.loads(result.stdout)
    assert [run["label"] for run in table["runs"]].index("owner/a") >= 0
    (difference,) = table["differences"]
    assert difference["meaning"].startswith("Ranks count")  # programs read English
    assert {len(line) for p in table["profiles"] for line in p["values"]} == {4}


def test_it_needs_no_pandas_and_no_weights(runs):
    code = (
        "import sys\nfrom mlx_probe.cli import cli\n"
        f"cli(['compare-runs', {str(runs[0])!r}, {str(runs[1])!r}], standalone_mode=False)\n"
        "print('heavy:', *{'pandas', 'pyarrow.compute', 'mlx', 'plotly'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].strip() == "heavy:"


def test_refusals(runs, tmp_path):
    refuses(invoke("compare-runs"), "no run is named", "--catalog", code=2)
    refuses(invoke("compare-runs", *runs, "--metric", "rnk"), "'rnk'", "rank", code=2)
    refuses(invoke("compare-runs", tmp_path), "none of the runs can be read", "holds no run")
    other = store(tmp_path / "other", [matrix(0, "conv", std=1.0)], "o/other")
    refuses(invoke("compare-runs", runs[0], other), "no block type in common")
    assert invoke("compare-runs", runs[0], tmp_path / "none").exit_code == 0


@pytest.fixture
def cataloged(tmp_path, monkeypatch):
    """Two models with two runs each of the same values, the later ones of seed 2."""
    monkeypatch.chdir(tmp_path)
    empty_home(monkeypatch, tmp_path / "home")
    for name in ("plain", "other"):
        folder_model(tmp_path / "models" / name)
        for day in (1, 2):
            out = f"data/outputs/{name}/2026-01-0{day}T00-00-00Z"
            result = invoke("analyze", tmp_path / "models" / name, "--out", out, "--seed", day)
            assert result.exit_code == 0, result.output
            # All four end within a second or two.
            edit_meta(
                tmp_path / out, lambda meta, day=day: meta.update(created_at=f"2026-01-0{day}")
            )
    assert invoke("catalog", "scan", tmp_path / "models").exit_code == 0
    return tmp_path


@pytest.mark.parametrize(
    ("wanted", "models"),
    [
        ("", ["other", "plain"]),
        ("plain", ["plain"]),
        ("text=other", ["other"]),
        ("format=safetensors, larger=1", ["other", "plain"]),
    ],
    # A model's path is searched too, and has the test's name in it.
    ids=["all", "word", "field", "fields"],
)
def test_runs_of_the_catalog(cataloged, wanted, models):
    table = json.loads(invoke("compare-runs", "--catalog", wanted, "--json").stdout)
    assert sorted(run["model"].split("/")[-1] for run in table["runs"]) == models
    assert {run["settings"]["seed"] for run in table["runs"]} == {2}


def test_a_filter_is_checked(cataloged):
    command = ("compare-runs", "--catalog")
    refuses(invoke(*command, "sice=3"), "'sice'", "to filter by", code=2)
    refuses(invoke(*command, "larger=big"), "'big' is not a size", code=2)
    refuses(invoke(*command, "format=a,format=b"), "format twice", code=2)
    refuses(invoke(*command, "tag=none"), "no model in the catalog", "scan", code=2)


def test_a_run_of_the_catalog_that_is_gone_has_its_line(cataloged):
    shutil.rmtree(cataloged / "data/outputs/plain/2026-01-02T00-00-00Z")
    result = invoke("compare-runs", "--catalog", "")
    assert result.exit_code == 0, result.output
    assert "does not exist" in result.stdout
