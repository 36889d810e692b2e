"""Every benchmark runs from end to end with its smallest setting, and writes its result."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
from project import ROOT
from tiny_llm import make_model, make_tokenizer
from weightfiles import write_safetensors

BENCHMARKS = ROOT / "benchmarks"
SCRIPTS = {path.stem for path in BENCHMARKS.glob("[!_]*.py")} - {"weightwatcher_analyze"}
MODEL = "a small model"
RUNS = "a small model that runs"
WATCHED = ["--config", str(ROOT / "configs/train/tiny.yaml"), "--data", str(ROOT / "docs/en")]
SHAPE = (
    *("model.dim=32", "model.layers=1", "model.vocabulary=320", "evaluation_tokens=640"),
    "train.compile=never",
)
TINY = [*WATCHED, *(word for change in SHAPE for word in ("--set", change))]
SMALLEST = {
    "alpha_decay": [*TINY, "--steps", "12", "--seeds", "2"],
    "band_reduction": ["--side", "64", "--runs", "1", "--family", "log to 1e-9"],
    "compare": [MODEL, "--runs", "1"],
    "coverage": ["--trials", "2"],
    "eigenvalues": ["--sizes", "64", "--runs", "1", "--exact-sizes", "40"],
    "elements": ["--elements", "1048576", "--runs", "1"],
    "experts": ["--experts", "4", "--scale", "64", "--whole-scale", "16", "--runs", "1"],
    "exporting": [RUNS, "--type", "f32", "--prompts", "2", "--length", "3"],
    "forecast": [MODEL, "--runs", "1"],
    "function_calling": [
        *("--model", "tiny", "--trained", "0-9", "--judged", "10-11", "--tokens", "6"),
    ],
    "hard_spectra": ["--sizes", "64"],
    "large_matrices": ["--runs", "1", "--scale", "32"],
    "load_test": ["--requests", "60", "--connections", "8"],
    "memory": ["--size", "1MB", "--scale", "32"],
    "metrics": [MODEL, "--runs", "1"],
    "moments": ["--elements", "1048576", "--runs", "1"],
    "nanogpt": [*TINY, "--iterations", "2", "--seeds", "2", "--no-seconds"],
    "nulls": ["--trials", "2"],
    "resume": ["--kills", "1", "--steps", "8"],
    "runs": [MODEL, "--count", "2", "--runs", "1"],
    "sampler": ["--seconds", "1"],
    "scaling": ["--runs", "1", "--largest", "512"],
    "serving": ["--clients", "2", "--requests", "4", "--output-len", "4"],
    "side_by_side": [MODEL, "--runs", "1", "--include", "*"],
    "startup": [MODEL, "--runs", "1"],
    "summary": [MODEL],
    "tiny_tensors": ["--tensors", "40"],
    "tokenizing": ["--size", "2MB"],
    "efficiency": ["--steps", "1", "--models", "1"],
    "training": [*TINY, "--optimizer", "adamw", "--steps", "30", "--runs", "1"],
    "tuning": ["--kills", "1", "--steps", "4", "--model", "tiny"],
    "typical": ["--model", "minilm", MODEL, "--layers", "1", "--side", "64", "--experts", "4"],
    "unpacking": ["--rows", "2048", "--cols", "512"],
    "watch": [*WATCHED, "--steps", "12", "--runs", "1"],
    "whole_run": [MODEL, "--runs", "1"],
}
# Of those that have more results than the one of their name.
RESULTS = {
    "band_reduction": {f"band_reduction{part}" for part in ("", "_errors", "_counts", "_m3_ultra")},
    "function_calling": {"function_calling", "function_calling_rewards"},
    "scaling": {"scaling", "scaling_stages", "scaling_assumptions"},
    "tuning": {"tuning", "tuning_grpo", "tuning_memory"},
}


def test_the_results_that_the_documentation_shows_have_a_script():
    text = (ROOT / "docs" / "en" / "performance.md").read_text("utf-8")
    shown = set(re.findall("<!-- results: (.+) -->", text))
    assert shown <= set.union(SCRIPTS, *RESULTS.values())


def test_no_script_is_forgotten():
    assert set(SMALLEST) == SCRIPTS


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("small")
    shapes = {"self_attn.q_proj": (64, 64), "mlp.up_proj": (128, 64)}
    arrays = {
        f"model.layers.0.{name}.weight": rng.standard_normal(shape, np.float32)
        for name, shape in shapes.items()
    }
    write_safetensors(folder / "model.safetensors", arrays)
    return str(folder)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    return str(make_model(root / "model", make_tokenizer(root / "tokenizer", "bytes")))


@pytest.mark.slow
@pytest.mark.parametrize("script", SMALLEST)
def test_it_writes_its_result(script, small, runs, tmp_path):
    words = [{MODEL: small, RUNS: runs}.get(word, word) for word in SMALLEST[script]]
    done = subprocess.run(
        [sys.executable, BENCHMARKS / f"{script}.py", *words, "--out", tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )
    # 1: so small a setting misses the script's limit.
    assert done.returncode in (0, 1), done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    written = {path.stem: path for path in tmp_path.iterdir()}
    assert set(written) == RESULTS.get(script, {script})
    for path in written.values():
        result = json.loads(path.read_text("utf-8"))
        assert list(result) == ["date", "machine", "command", "columns", "rows", "note"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", result["date"])
        assert " cores, " in result["machine"]
        assert result["command"].startswith(f"python benchmarks/{script}.py ")
        assert str(tmp_path) not in result["command"]
        assert result["rows"]
        assert {len(row) for row in result["rows"]} == {len(result["columns"])}
        assert result["columns"][0] in done.stdout
