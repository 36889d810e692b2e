"""Documents that are filled in from runs and models: the run's numbers, its plots, its hash."""

import json
import os
import re
import shutil
from datetime import date, datetime
from pathlib import Path

import pytest
from models import invoke, refuses

from mlx_probe.library.documents import environments, surroundings
from mlx_probe.library.documents.check import check_documents
from mlx_probe.library.documents.front_matter import read_front_matter
from mlx_probe.library.documents.subjects import run_sha256
from mlx_probe.report import run_document
from mlx_probe.runs.experiments import read_experiment


@pytest.fixture
def notes(tmp_path, monkeypatch):
    monkeypatch.setenv("MLX_PROBE_CATALOG", str(tmp_path / "catalog.sqlite"))
    monkeypatch.setenv("MLX_PROBE_LANG", "en")
    assert invoke("docs", "init", tmp_path / "notes", "--lang", "en").exit_code == 0
    return tmp_path / "notes"


def made(notes, *words):
    result = invoke("docs", "new", *words, "--dir", notes, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def rules_of(path):
    return {each.rule for each in check_documents([path])}


@pytest.mark.parametrize(("name", "plots"), [("base", 2), ("pair", 1)])
def test_a_document_of_a_run_has_its_numbers_plots_and_hash(stored, notes, tmp_path, name, plots):
    run = tmp_path / "runs" / name
    shutil.copytree(stored.runs / name, run)
    document = made(notes, "experiment", f"What is in {name}", "--run", str(run))
    path = notes / "experiments" / document["file"].rpartition("/")[2]
    text = path.read_text("utf-8")
    front = read_front_matter(text)
    experiment = read_experiment(run)
    assert front.text("run") == f"../../runs/{name}"
    assert front.text("run_sha256") == run_sha256(run, experiment.marker.name)
    finished = datetime.fromisoformat(experiment.created_at).astimezone().date()
    assert front.text("date") == document["date"] == finished.isoformat()
    for metric, value in experiment.metrics.items():
        assert re.search(rf"^\| `{metric}` \| \S+ \|$", text, re.M), metric
        if 0 < abs(value) < 1000:
            assert f"| `{metric}` | {value:.6g} |" in text
    settings = {key: value for key, value in experiment.config.items() if value not in (None, "")}
    assert all(f"| `{key}` |" in text for key in settings)
    assert len(document["figures"]) == plots
    assert all(f"figures/{each.rpartition('/')[2]})" in text for each in document["figures"])
    assert rules_of(notes) == {"todo"}
    meta = json.loads(experiment.marker.read_text())
    table = next(name for name in sorted(meta["outputs"]) if "monitor" not in name)
    content = (run / table).read_bytes()
    (run / table).write_bytes(content + b"\n")
    assert rules_of(notes) == {"todo", "stale"}
    (run / table).write_bytes(content)
    assert rules_of(notes) == {"todo"}
    experiment.marker.write_text(json.dumps({**meta, "seconds": {"measure": 5}}))
    assert rules_of(notes) == {"todo", "stale"}


def test_a_training_run_is_drawn_by_its_steps(trained, notes):
    document = made(notes, "experiment", "A training", "--run", str(trained))
    assert any("val_bpb" in each for each in document["figures"])
    assert rules_of(notes) == {"todo"}


def test_without_matplotlib_there_are_tables_and_a_note(stored, notes, monkeypatch):
    monkeypatch.setattr(run_document, "find_spec", lambda name: None)
    document = made(notes, "experiment", "Bare", "--run", str(stored.runs / "base"))
    assert document["figures"] == []
    [path] = (notes / "experiments").glob("*.md")
    assert "pip install 'mlx-probe[plot]'" in path.read_text("utf-8")
    assert "| `stable_rank` |" in path.read_text("utf-8")


def test_a_document_is_in_the_language_of_its_project(stored, tmp_path, notes):
    chinese = tmp_path / "zh"
    assert invoke("docs", "init", chinese, "--lang", "zh").exit_code == 0
    made(chinese, "experiment", "基座的秩", "--run", str(stored.runs / "base"))
    [path] = (chinese / "experiments").glob("*.md")
    text = path.read_text("utf-8")
    words = re.sub(r"`[^`\n]*`|```.*?```|---.*?---", "", text, flags=re.DOTALL)
    heads = re.findall(r"^#+ (.*)$", words, re.M)
    assert all(re.search("[\u4e00-\u9fff]", head) for head in heads), heads
    assert path.name.endswith("_基座的秩.md")


def test_a_document_that_is_there_stays_with_its_plots(stored, notes):
    words = ("experiment", "Twice", "--run", str(stored.runs / "base"))
    made(notes, *words)
    before = {path: path.read_bytes() for path in notes.rglob("*") if path.is_file()}
    refuses(invoke("docs", "new", *words, "--dir", notes), "is there already")
    refuses(invoke("docs", "new", "experiment", "x", "--run", "gone", "--dir", notes), "gone")
    assert {path: path.read_bytes() for path in notes.rglob("*") if path.is_file()} == before


def test_a_document_of_a_model_has_its_card_and_hash(stored, notes, monkeypatch):
    assert invoke("catalog", "scan", stored.root / "models").exit_code == 0
    name = json.loads(invoke("catalog", "list", "--json").stdout)[0]["id"]
    path = made(notes, "model", "A model", "--model", name, "--date", "2026-01-02")["file"]
    front = read_front_matter(Path(path).read_text("utf-8"))
    assert (front.text("model"), front.text("date")) == (name, date(2026, 1, 2).isoformat())
    assert len(front.text("model_sha256")) == 64
    # It is read once, while it stays as it is.
    monkeypatch.setattr(surroundings, "sha256_file", lambda path: pytest.fail("read again"))
    assert rules_of(notes) == {"todo"}
    monkeypatch.undo()
    [weights] = (stored.root / "models" / name).glob("*.safetensors")
    before, times = weights.read_bytes(), weights.stat()
    try:
        weights.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
        assert rules_of(notes) == {"todo", "stale"}
    finally:
        weights.write_bytes(before)
        os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns))
    refuses(
        invoke("docs", "new", "model", "y", "--model", "no-such", "--dir", notes), "no-such", code=2
    )


def test_a_document_of_an_environment_has_what_its_own_document_says(notes, tmp_path, monkeypatch):
    monkeypatch.setenv("MLX_PROBE_ENVS", str(tmp_path / "envs"))
    (tmp_path / "envs" / "work").mkdir(parents=True)
    refuses(invoke("docs", "new", "environment", "Work", "--env", "work", "--dir", notes), "work")
    text = (
        "# Environment work\n\n- Python: 3.12\n\n## Packages\n\n| a | b |\n|---|---|\n| x | y |\n"
    )
    monkeypatch.setattr(environments, "environment_markdown", lambda place: text)
    path = made(notes, "environment", "Work", "--env", "work")["file"]
    assert "\n- Python: 3.12\n\n### Packages\n\n| a | b |" in Path(path).read_text("utf-8")
    assert rules_of(notes) == {"todo"}


def test_a_document_of_an_environment_lists_what_is_installed(notes, tmp_path):
    path = made(notes, "environment", "This one", "--env", ".")["file"]
    text = Path(path).read_text("utf-8")
    assert re.search(r"^\| numpy \| \d+\.\S+ \|$", text, re.M)
    assert rules_of(notes) == {"todo"}
    site = tmp_path / "venv" / "lib" / "python3.12" / "site-packages" / "thing-1.5.dist-info"
    site.mkdir(parents=True)
    (site / "METADATA").write_text("Metadata-Version: 2.1\nName: thing\nVersion: 1.5\n")
    path = made(notes, "environment", "Another", "--env", str(tmp_path / "venv"))["file"]
    assert "| thing | 1.5 |" in Path(path).read_text("utf-8")
    words = ("environment", "None", "--env", tmp_path, "--dir", notes)
    refuses(invoke("docs", "new", *words), "is no environment", code=2)
