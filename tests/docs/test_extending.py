"""What docs/en/extending.md says, done to a copy of the package: one file and one line each."""

import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from project import ROOT
from safetensors.numpy import save_file

PAGE = ROOT / "docs" / "en" / "extending.md"
TABLES = {
    "moments.py": ("mlx_probe/metrics/moments.py", r"(MOMENTS\b.*?)(\n\s*Metric\()"),
    "PACKINGS": ("mlx_probe/checkpoint/packings/__init__.py", r"(\nPACKINGS\b[^{]*\{)()"),
    "SIDES": ("mlx_probe/analysis/side_tables/__init__.py", r"(\nSIDES\b[^(]*in \()()"),
    "FINDINGS": ("mlx_probe/analysis/findings/__init__.py", r"(\n_RULES\b[^(]*\()()"),
    "SOURCES": ("mlx_probe/source/__init__.py", r"(\nSOURCES\b[^{]*\{)()"),
}


def sections():
    """Each example: the file that it goes to, its code, and the line for the table."""
    for part in PAGE.read_text("utf-8").split("\n## "):
        code = re.search(r"```py\n(.*?)```", part, re.S)
        if code:
            yield (
                re.search(r"`(mlx_probe/\S+?\.py)`:", part)[1],
                code[1],
                re.search(r"The line, in[^:]*: `([^`]+)`", part)[1],
            )


def insert(path, pattern, line):
    text = path.read_text("utf-8")
    changed, count = re.subn(pattern, lambda m: f"{m[1]}\n{line}{m[2]}", text, count=1, flags=re.S)
    assert count == 1, f"{path} has no table where it was"
    path.write_text(changed, "utf-8")


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    """A copy of the package with the page's additions; the paths that were touched."""
    root = tmp_path_factory.mktemp("extended")
    shutil.copytree(ROOT / "mlx_probe", root / "mlx_probe", ignore=shutil.ignore_patterns("*.pyc"))
    examples = list(sections())
    assert len(examples) == len(TABLES)
    for (file, code, line), (table, pattern) in zip(examples, TABLES.values(), strict=True):
        path = root / file
        if path.exists():
            insert(path, r"(\n)(\n\ndef )", f"\n{code}")
        else:
            path.write_text(code, "utf-8")
            module = file.removesuffix(".py").replace("/", ".")
            for name in re.findall(r"^([A-Z]+) = (?:Side|Rule|Source)\(", code, re.M):
                insert(
                    root / table,
                    r"(\nfrom __future__ import annotations)(\n)",
                    f"from {module} import {name}",
                )
        insert(root / table, pattern, line)
    return root


@pytest.fixture(scope="module")
def command(extended, tmp_path_factory):
    """Runs Python in the copy, beside a model that needs the packing and the source."""
    shelf = tmp_path_factory.mktemp("shelf")
    rng = np.random.default_rng(0)
    tensors = {"model.norm.weight": rng.standard_normal(32).astype(np.float32)}
    half = rng.standard_normal((300, 32)) * (rng.random((300, 32)) < 0.5)
    tensors["model.embed_tokens.weight"] = half.astype(np.float32)
    for layer in range(3):
        stem = f"model.layers.{layer}.self_attn.q_proj"
        tensors[f"{stem}.weight_bytes"] = rng.integers(-127, 127, (16, 32)).astype(np.int8)
        tensors[f"{stem}.row_scale"] = rng.random(16).astype(np.float32)
    (shelf / "tiny").mkdir()
    save_file(tensors, shelf / "tiny" / "model.safetensors")
    (shelf / "tiny" / "config.json").write_text(json.dumps({"model_type": "llama"}))
    values = tensors["model.layers.0.self_attn.q_proj.weight_bytes"].astype(np.float64)
    values *= tensors["model.layers.0.self_attn.q_proj.row_scale"][:, None]
    environment = {**os.environ, "MODEL_SHELF": str(shelf), "PYTHONPATH": str(extended)}

    def run(*arguments):
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=extended,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run.values = values
    return run


CLI = ("-c", "import sys; from mlx_probe.cli import main; sys.argv[0] = 'mlx-probe'; main()")


def test_the_copy_is_what_runs(command, extended):
    shown = command("-c", "import mlx_probe; print(mlx_probe.__file__)")
    assert shown.strip() == str(extended / "mlx_probe" / "__init__.py")


def test_help_shows_the_source(command):
    assert "shelf:Qwen3-0.6B" in command(*CLI, "--help")


@pytest.mark.slow
def test_outputs_and_reports_show_all(command, extended):
    command(*CLI, "analyze", "shelf:tiny", "--out", "run", "--format", "csv", "--quiet")
    rows = json.loads(
        command(
            "-c",
            "import mlx_probe; print(mlx_probe.load_run('run').to_json(orient='records'))",
        )
    )
    (first,) = (row for row in rows if row["layer_index"] == 0)
    values = command.values
    assert (first["packing"], first["rank"], first["shape"]) == ("rowwise", 16, [16, 32])
    crest = np.abs(values).max() / np.sqrt((values**2).mean())
    assert first["crest_factor"] == pytest.approx(crest, rel=1e-6)
    lines = (extended / "run" / "layers.csv").read_text("utf-8").splitlines()
    assert lines[1:] == ["0,1,512,576", "1,1,512,576", "2,1,512,576"]
    meta = json.loads((extended / "run" / "run_meta.json").read_text("utf-8"))
    assert "layers" in meta["tables"]
    (pruned,) = (one for one in meta["findings"] if one["rule"] == "pruned")
    assert pruned["rows"] == ["model.embed_tokens.weight"]
    assert pruned["sentence"].startswith("1 embedding are pruned: 5")
    text = command(*CLI, "report", "run", "--terminal", "--metric", "crest_factor")
    assert "1 embedding are pruned" in " ".join(text.split())
    assert "crest_factor by layer" in text
    assert "Layers: parameters by layer" in text
    command(*CLI, "report", "run")
    page = (extended / "run" / "report.html").read_text("utf-8")
    assert "crest_factor" in page
    assert "Layers" in page


def test_documentation_shows_all(command, extended):
    shutil.copytree(ROOT / "docs", extended / "docs")
    command("-m", "mlx_probe.cli.generated_docs")
    pages = {path.stem: path.read_text("utf-8") for path in (extended / "docs/en").glob("*.md")}
    assert "`crest_factor`" in pages["columns"]
    assert "## layers" in pages["columns"]
    assert "`rowwise`" in pages["formats"]
    assert "`pruned`" in pages["findings"]
    assert "shelf:Qwen3-0.6B" in pages["models"]
